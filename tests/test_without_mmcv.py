"""Torch and mmengine suffice for the attentions, and to put them into networks of others."""

import subprocess
import sys
import textwrap

import pytest

BLOCK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'mmcv', 'mmdet', 'mmseg', 'mmpretrain'}:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Missing())
"""


def without_mmcv(code: str) -> str:
    done = subprocess.run(
        [sys.executable, '-c', BLOCK + textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
