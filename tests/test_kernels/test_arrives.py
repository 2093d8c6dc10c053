"""The package of the C++ builds on any machine, with its kernels or with the reason why not."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mmattn
from mmattn.doctor import kernels as arrival
from mmattn.kernels import choice
from mmattn.utils.errors import UserError


@pytest.fixture
def package(project_root, tmp_path):
    """A copy of the package to build in, with two small sources in place of its own."""
    folder = project_root / 'kernels'
    if not (folder / 'setup.py').exists():
        pytest.skip('needs the sources of the kernels')
    copy = tmp_path / 'kernels'
    shutil.copytree(folder, copy, ignore=arrival.LEFT_BY_A_BUILD)
    for source in (copy / 'src').iterdir():
        source.unlink()
    for name in ('one', 'two'):
        (copy / 'src' / f'{name}.cpp').write_text(f'int {name}() {{ return 1; }}\n')
    return copy


def build(package, *options, **environ):
    """The wheel's name, and what it holds."""
    command = [sys.executable, *options, 'setup.py', '-q', 'bdist_wheel', '-d', 'out']
    done = subprocess.run(
        command, cwd=package, env={**os.environ, **environ}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (package / 'out').glob('*.whl')
    with zipfile.ZipFile(wheel) as opened:
        built = json.loads(opened.read('mmattn_kernels/built.json'))
        return wheel.name, built, opened.namelist()


def test_versions_are_the_same(project_root):
    file = project_root / 'kernels' / 'pyproject.toml'
    assert f'version = "{mmattn.__version__}"' in file.read_text().splitlines()


def test_without_a_compiler(package, tmp_path):
    pytest.importorskip('setuptools')
    name, built, names = build(package, PATH=str(tmp_path), CXX='c++')
    assert built['error'] == 'no C++ compiler was found (looked for c++)'
    assert not any(name.endswith('.so') for name in names)
    # One for every platform would hide the compiled one of this platform from an installer.
    assert not name.endswith('none-any.whl')


def test_without_torch(package, tmp_path):
    found = pytest.importorskip('setuptools')
    needed = tmp_path / 'needed'
    needed.mkdir()
    site = Path(found.__file__).parents[1]
    for pattern in ('setuptools*', '_distutils_hack', 'wheel*', 'pkg_resources'):
        for path in site.glob(pattern):
            (needed / path.name).symlink_to(path)
    # -S leaves site-packages out.
    _, built, _ = build(package, '-S', PYTHONPATH=str(needed))
    assert built == dict(torch=None, error="No module named 'torch'")


@pytest.mark.skipif(not shutil.which('c++'), reason='needs a C++ compiler')
def test_source_that_does_not_compile(package):
    pytest.importorskip('setuptools')
    (package / 'src' / 'two.cpp').write_text('int two() { oops }\n')
    _, built, names = build(package)
    assert re.search('compiling|failed', built['error'])
    assert '\n' not in built['error'] and len(built['error']) < 320
    assert not any(name.endswith('.so') for name in names)


# Whether the kernels agree with the pure way, and share their work out to torch's threads.
RUN = """
import os, re
import torch, mmattn_kernels
from mmattn import kernels
from mmattn.kernels import choice
assert not choice.why_no_cpp(), choice.why_no_cpp()
print(mmattn_kernels.__file__)
torch.set_num_threads(2)
x = torch.rand(8, 64, 28, 28)
threads = len(os.listdir('/proc/self/task'))
found = kernels.means(x)
assert len(os.listdir('/proc/self/task')) == threads + 1
with choice.using('pure'):
    torch.testing.assert_close(found, kernels.means(x))
runtimes = {line.split()[-1] for line in open('/proc/self/maps') if re.search('/lib[gi]?omp', line)}
assert len(runtimes) == 1, runtimes
"""


@pytest.mark.slow
@pytest.mark.parametrize('compiler', ['g++', 'clang++'])
@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
@pytest.mark.skipif(not choice.CAN_REGISTER, reason='the kernels need torch 2.4')
def test_compilers(compiler, package, project_root, tmp_path):
    pytest.importorskip('setuptools')
    if not shutil.which(compiler):
        pytest.skip(f'needs {compiler}')
    shutil.copytree(project_root / 'kernels' / 'src', package / 'src', dirs_exist_ok=True)
    wheel, built, _ = build(package, CXX=compiler)
    assert built['error'] is None
    with zipfile.ZipFile(package / 'out' / wheel) as opened:
        opened.extractall(tmp_path / 'site')
    paths = [str(tmp_path / 'site'), str(Path(mmattn.__file__).parents[1])]
    environ = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'MMATTN_KERNELS': 'auto'}
    command = [sys.executable, '-c', RUN]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout


# An environment of its own with the packages of this one.
BUILD = """
import sys
from pathlib import Path
from mmattn.doctor import kernels
kernels.sources = lambda: Path(sys.argv[1])
kernels.build_kernels()
import mmattn_kernels
assert Path(mmattn_kernels.__file__).is_relative_to(sys.prefix), mmattn_kernels.__file__
assert mmattn_kernels.load() == ''
"""


# The operator by which the package tells that this CPU can run the others.
LEVEL = """
#include <torch/library.h>
TORCH_LIBRARY_FRAGMENT(mmattn_cpu, m) {
  m.def("level() -> str", [] { return std::string("some"); });
}
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('c++'), reason='needs a C++ compiler')
@pytest.mark.skipif(not choice.CAN_REGISTER, reason='the kernels need torch 2.4')
def test_build_kernels(package, tmp_path):
    pytest.importorskip('setuptools')
    (package / 'src' / 'one.cpp').write_text(LEVEL)
    if not (shutil.which('uv') or any(map(arrival.find_spec, ('uv', 'pip')))):
        pytest.skip('needs pip or uv')
    venv = tmp_path / 'venv'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(venv)], check=True)
    (site,) = venv.glob('lib/python*/site-packages')
    paths = [str(Path(mmattn.__file__).parents[1]), *(path for path in sys.path if path)]
    (site / 'borrowed.pth').write_text('\n'.join(paths))
    command = [str(venv / 'bin' / 'python'), '-c', BUILD, str(package)]
    environ = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    options = dict(cwd=tmp_path, env=environ, capture_output=True, text=True)
    done = subprocess.run(command, **options)
    assert done.returncode == 0, done.stderr
    assert re.search(r'^Compiling the kernels in .* for torch 2', done.stdout)
    assert re.search(r'Installed in \d+ s', done.stdout)
    # Nothing is left behind among the sources.
    assert sorted(p.name for p in package.iterdir()) == sorted(
        ['pyproject.toml', 'setup.py', 'src', 'mmattn_kernels']
    )

    (package / 'src' / 'two.cpp').write_text('int two() { oops }\n')
    done = subprocess.run(command, **options)
    assert 'UserError: mmattn-kernels was built without its kernels' in done.stderr
    assert 'two.cpp:1' in done.stderr and 'error:' in done.stderr


@pytest.mark.parametrize(
    ('found', 'said'),
    [
        ({}, 'torch, which is not installed'),
        (dict(torch='2.1.2+cu121', setuptools='80.1'), 'torch 2.4 or newer, this is 2.1.2'),
        (dict(torch='2.11.0'), "no setuptools here; needed is: pip install 'setuptools>=70.1,<81'"),
        (dict(torch='2.11.0', setuptools='69.0'), 'setuptools 69.0 without wheel here'),
    ],
)
def test_what_build_kernels_lacks_is_named(monkeypatch, found, said):
    monkeypatch.setattr(arrival, 'installed', lambda names: found)
    with pytest.raises(UserError, match=re.escape(said)):
        arrival.build_kernels()


def test_build_kernels_leaves_an_environment_of_uv_to_uv(monkeypatch, tmp_path):
    monkeypatch.setattr(arrival, '_check_what_it_needs', lambda: '2.11.0')
    monkeypatch.setattr(arrival, 'CHECKOUT', tmp_path)
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / '.venv'))
    (tmp_path / 'uv.lock').touch()
    with pytest.raises(UserError, match='there: uv sync --reinstall-package mmattn-kernels$'):
        arrival.build_kernels()


def test_build_kernels_without_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setattr(arrival, 'installed', lambda _: dict(torch='2.11.0', setuptools='80.1'))
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(UserError, match=r'no C\+\+ compiler was found .* install g\+\+'):
        arrival.build_kernels()
