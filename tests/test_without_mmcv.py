"""Torch and mmengine suffice for the attentions, and to put them into networks of others.

With mmcv's Python files and mmpretrain beside them classifiers train: docs/quick_start.py.
"""

import re
import subprocess
import sys
import textwrap

import pytest

BLOCK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if any(name == gone or name.startswith(gone + '.') for gone in {missing}):
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Missing())
"""
# What the environment of docs/quick_start.py leaves out.
UNCOMPILED = ('mmdet', 'mmseg', 'mmcv._ext', 'scipy', 'autorank')


def without(missing: tuple[str, ...], code: str, folder: object = None) -> str:
    code = BLOCK.format(missing=missing) + textwrap.dedent(code)
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_mmcv(code: str) -> str:
    # The maintained mmengine does not ask for OpenCV; mmcv does.
    return without(('mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'cv2'), code)


def test_attentions_and_insertion_need_torch_and_mmengine_only():
    """All attentions are built, alone and with a backbone's norm, and one is trained a step."""
    pytest.importorskip('torchvision')
    said = without_mmcv(
        """
        import inspect
        import torch
        import torchvision
        import mmattn
        from mmattn.attention.names import attention_names, find_attention

        for name in attention_names():
            cls = find_attention(name)
            for kind in ('BN', 'SyncBN'):
                given = 'norm_cfg' in inspect.signature(cls).parameters
                cls(256, **(dict(norm_cfg=dict(type=kind)) if given else {}))
        print(len(attention_names()))
        made = mmattn.insert_attention(
            torchvision.models.squeezenet1_1(num_classes=2),
            [dict(type='SCSA', warm_start=True), dict(type='CBAM', at='features.3')])
        made(torch.randn(1, 3, 64, 64)).sum().backward()
        assert made.features[3].expand3x3_activation is not None
        assert all(p.grad is not None for n, p in made.named_parameters() if 'warm_scale' in n)
        timm = __import__('timm') if __import__('importlib').util.find_spec('timm') else None
        if timm:
            made = timm.create_model('mobilenetv3_small_050', num_classes=2)
            mmattn.insert_attention(torch.nn.SyncBatchNorm.convert_sync_batchnorm(made),
                                    dict(type='CA'))
            assert sum(type(m).__name__ == 'SyncBatchNorm' and 'attn' in n
                       for n, m in made.named_modules())
        assert not {'mmcv', 'mmdet', 'mmseg', 'mmpretrain'} & set(sys.modules)
        """
    )
    assert int(said) >= 18


def test_what_needs_mmcv_says_so():
    said = without_mmcv(
        """
        import mmattn
        from mmattn.attention import CBAM
        from mmattn.registry import MODELS

        for build in (lambda: mmattn.backbones.ResNet,
                      lambda: MODELS.build(dict(type='mmattn.AnyBackbone', network='CSPNeXt')),
                      lambda: CBAM(8, norm_cfg=dict(type='MMSyncBN'))):
            try:
                build()
            except Exception as error:
                print(type(error).__name__, error)
        assert 'SE' in MODELS.module_dict and 'ResNet' not in MODELS.module_dict
        """
    )
    resnet, network, norm = said.splitlines()
    assert 'mmattn.ResNet needs mmcv, which is not installed: pip install' in resnet
    assert 'CSPNeXt' in network
    assert 'without mmcv, which is not installed, its type is one of BN' in norm


@pytest.fixture
def quick_start(project_root):
    path = project_root / 'docs' / 'quick_start.py'
    if not path.is_file():
        pytest.skip('a script of the checkout, and this is none')
    return path


def test_the_quick_start_has_the_pins_of_the_stack(quick_start, project_root):
    tomllib = pytest.importorskip('tomllib')  # from Python 3.11 on
    header = re.search(r'# /// script\n(.*?)# ///', quick_start.read_text(), re.DOTALL)[1]
    script = tomllib.loads(re.sub(r'(?m)^# ?', '', header))
    project = tomllib.loads((project_root / 'pyproject.toml').read_text())
    extras = project['project']['optional-dependencies']
    pins = {*extras['stack'], *extras['analysis'], 'mmattn'}
    assert set(script['dependencies']) <= pins
    assert script['requires-python'] == project['project']['requires-python']
    ours, full = script['tool']['uv'], project['tool']['uv']
    assert ours['exclude-newer'] == full['exclude-newer']
    # uv keeps what it builds apart by these: neither mmcv is taken for the other.
    assert ours['extra-build-variables']['onedl-mmcv']['MMCV_WITH_OPS'] == '0'
    assert full['extra-build-variables']['onedl-mmcv']['MMCV_WITH_OPS'] == '1'


@pytest.mark.slow
def test_the_quick_start_trains_without_operators(quick_start, tmp_path):
    pytest.importorskip('mmpretrain')
    code = f"""
    import runpy
    sys.argv = ['quick_start.py']
    runpy.run_path({str(quick_start)!r}, run_name='__main__')
    """
    said = without(UNCOMPILED, code, tmp_path)
    top1 = re.search(r'best accuracy/top1 *│ *([\d.]+)', said)[1]
    assert float(top1) > 80
    assert list(tmp_path.glob('work_dirs/quick_start/predictions/*.png'))


def test_the_quick_start_s_network_needs_no_operators(quick_start):
    pytest.importorskip('mmpretrain')
    said = without(
        UNCOMPILED,
        f"""
        import runpy
        import torch
        words = runpy.run_path({str(quick_start)!r})['FIRST'].split()
        from mmattn.engine.prepare import prepare
        from mmpretrain.registry import MODELS
        from mmpretrain.utils import register_all_modules
        register_all_modules()
        cfg, _ = prepare(words[0], words[words.index('--cfg-options') + 1:])
        model = MODELS.build(cfg.model)
        print(model(torch.zeros(2, 3, 64, 64), mode='tensor').shape)
        print(sum(type(m).__name__ == 'SCSA' for m in model.modules()))
        assert not any(name.startswith(('mmdet', 'mmseg', 'mmcv._ext')) for name in sys.modules)
        """,
    )
    assert said.splitlines()[-2:] == ['torch.Size([2, 1000])', '8']
