"""What runs where; whatever is wrong with a faster implementation, pure PyTorch runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mmattn
from mmattn import kernels
from mmattn.kernels import choice

needs_new_torch = pytest.mark.skipif(
    not choice.CAN_REGISTER, reason='says that torch is too old, first of all'
)


def test_using_holds_inside_and_nests():
    before = choice.mode()
    with kernels.using('auto'):
        with kernels.using('pure'):
            assert choice.mode() == 'pure'
            assert kernels.implementation(torch.empty(0)) == 'pure'
        assert choice.mode() == 'auto'
    assert choice.mode() == before


def test_using_ends_with_an_error():
    before = choice.mode()
    with pytest.raises(ZeroDivisionError), kernels.using('pure'):
        1 / 0  # noqa: B018
    assert choice.mode() == before


def test_a_mode_that_is_none_is_named(monkeypatch):
    with pytest.raises(ValueError, match="auto, pure, got 'fast'"), kernels.using('fast'):
        pass
    monkeypatch.setenv('MMATTN_KERNELS', 'fast')
    choice._wanted.cache_clear()
    try:
        with pytest.raises(
            ValueError, match="MMATTN_KERNELS must be one of auto, pure, got 'fast'"
        ):
            kernels.implementation(torch.empty(0))
    finally:
        choice._wanted.cache_clear()


def test_commands_end_with_one_line(project_root):
    environ = {**os.environ, 'MMATTN_KERNELS': 'fast'}
    environ['PYTHONPATH'] = os.pathsep.join([str(Path(mmattn.__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, 'tools/test.py', 'CONFIG', 'CHECKPOINT'],
        cwd=project_root,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    said = done.stderr.strip().splitlines()
    assert said[-1] == "error: MMATTN_KERNELS must be one of auto, pure, got 'fast'"
    assert 'Traceback' not in done.stderr


@pytest.mark.skipif(bool(choice.why_no_cpp()), reason=f'no C++ here: {choice.why_no_cpp()}')
@pytest.mark.skipif(choice.INTERPRETED, reason='Triton takes CPUs while it is interpreted')
def test_dtypes_and_devices_of_the_cpp():
    with kernels.using('auto'):
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            assert kernels.implementation(torch.empty(0, dtype=dtype)) == 'C++'
        for dtype in (torch.float16, torch.complex64, torch.int32):
            assert kernels.implementation(torch.empty(0, dtype=dtype)) == 'pure'
        assert kernels.implementation(torch.empty(0, device='meta')) == 'pure'
    assert choice.vector_level()


@pytest.fixture
def package(tmp_path, monkeypatch, project_root):
    """A kernel package in place of what is installed: ``package(built, **more files)``."""

    def install(built, **files):
        folder = tmp_path / 'mmattn_kernels'
        folder.mkdir()
        shutil.copy(project_root / 'kernels' / 'mmattn_kernels' / '__init__.py', folder)
        (folder / 'built.json').write_text(json.dumps(built))
        for name, text in files.items():
            (folder / name.replace('_py', '.py').replace('_so', '.so')).write_text(text)

    if not (project_root / 'kernels' / 'setup.py').exists():
        pytest.skip('needs the sources of the kernels')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'mmattn_kernels', raising=False)
    choice.why_no_cpp.cache_clear()
    install.folder = tmp_path
    yield install
    sys.modules.pop('mmattn_kernels', None)
    choice.why_no_cpp.cache_clear()


HERE = dict(torch=torch.__version__, error=None)


@needs_new_torch
@pytest.mark.parametrize(
    ('built', 'files', 'said'),
    [
        (
            dict(torch='2.3.4', error=None),
            {},
            f'built for torch 2.3.4, this is {torch.__version__}',
        ),
        (
            dict(torch=None, error='no C++ compiler was found (looked for c++)'),
            {},
            'built without its kernels: no C++ compiler was found',
        ),
        (HERE, {}, 'not whole: no compiled library'),
        (HERE, dict(_C_so='not a library'), 'mmattn-kernels does not load'),
        ('nonsense', {}, 'mmattn-kernels does not load'),
        (HERE, dict(__init___py='raise OSError("broken")'), 'does not import: OSError: broken'),
    ],
    ids=['another torch', 'no compiler', 'not whole', 'no library', 'built.json', 'import'],
)
def test_what_is_wrong_with_the_package(package, built, files, said):
    package(built, **files)
    assert said in choice.why_no_cpp()
    assert '\n' not in choice.why_no_cpp()
    if not choice.INTERPRETED:
        assert kernels.implementation(torch.empty(0)) == 'pure'
    x = torch.randn(2, 4, 5, 6)
    for mean, dim in zip(kernels.means(x), (3, 2), strict=True):
        torch.testing.assert_close(mean, x.mean(dim))


@needs_new_torch
def test_another_version_of_the_package(package):
    package(HERE)
    info = package.folder / 'mmattn_kernels-0.0.1.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: mmattn-kernels\nVersion: 0.0.1\n')
    said = f'mmattn-kernels 0.0.1 is not for this mmattn, {mmattn.__version__}'
    assert choice.why_no_cpp() == said


@needs_new_torch
def test_no_package(monkeypatch):
    monkeypatch.setattr(choice, 'find_spec', lambda name: None)
    choice.why_no_cpp.cache_clear()
    choice.why_no_triton.cache_clear()
    try:
        assert choice.why_no_cpp() == 'the package mmattn-kernels is not installed'
        assert choice.why_no_triton() == 'triton is not installed'
    finally:
        choice.why_no_cpp.cache_clear()
        choice.why_no_triton.cache_clear()


def test_nothing_is_said_when_a_package_is_broken(tmp_path):
    (tmp_path / 'mmattn_kernels').mkdir()
    (tmp_path / 'mmattn_kernels' / '__init__.py').write_text('raise SystemError("broken")')
    code = 'import torch, mmattn.attention as a; print(a.SE(16)(torch.ones(1, 16, 4, 4)).shape)'
    path = [str(tmp_path), str(Path(mmattn.__file__).parents[1]), *sys.path]
    environ = {**os.environ, 'PYTHONPATH': os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, '-c', code], env=environ, capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ('torch.Size([1, 16, 4, 4])\n', '')
