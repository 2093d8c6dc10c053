import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import mmattn
from mmattn.__main__ import main
from mmattn.doctor.mismatches import REBUILD, Findings, mismatches
from mmattn.environment import PARTS, install_command, stack_problems

MAINTAINED = dict(part.maintained.split('==') for part in PARTS)
ORIGINAL = dict(part.original.split('==') for part in PARTS)
MODERN = {'torch': '2.11.0', 'torchvision': '0.26.0', 'numpy': '2.4.6', 'opencv-python': '5.0.0'}
OLDER = {'torch': '2.1.2', 'numpy': '1.26.4', 'setuptools': '80.1', 'ftfy': '6', 'regex': '2026'}


@pytest.fixture(scope='module')
def wheel(project_root, tmp_path_factory):
    if not (project_root / 'pyproject.toml').exists() or not (project_root / 'mmattn').exists():
        pytest.skip('builds the wheel from a checkout, and this is none')
    pytest.importorskip('hatchling')
    folder = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'hatchling', 'build', '-t', 'wheel', '-d', str(folder)]
    subprocess.run(command, cwd=project_root, check=True, capture_output=True)
    return next(folder.glob('*.whl'))


def test_wheel_carries_configs_and_tools(wheel, project_root):
    inside = set(zipfile.ZipFile(wheel).namelist())
    shipped = {Path('model-index.yml')}
    for folder in ('configs', 'tools'):
        shipped |= {p.relative_to(project_root) for p in project_root.glob(f'{folder}/**/*.*')}
    wanted = {f'mmattn/.mim/{p.as_posix()}' for p in shipped if '__pycache__' not in p.parts}
    assert wanted <= inside
    # What only maintains the project stays in its repository.
    allowed = ('mmattn/', f'mmattn-{mmattn.__version__}.dist-info/')
    assert all(name.startswith(allowed) for name in inside)
    # The sources of the kernels without what a build has left among them.
    folder = 'mmattn/.mim/kernels'
    kernels = {name for name in inside if name.startswith(f'{folder}/')}
    sources = {p.name for p in (project_root / 'kernels' / 'src').iterdir()}
    assert kernels == {f'{folder}/src/{name}' for name in sources} | {
        f'{folder}/{name}' for name in ('pyproject.toml', 'setup.py', 'mmattn_kernels/__init__.py')
    }
    suffixes = {Path(name).suffix for name in inside if '/.mim/' not in name}
    assert suffixes <= {'.py', '.yml', '', '.txt', '.typed', '.html'}, suffixes


def test_wheel_pulls_no_part_of_a_stack(wheel):
    with zipfile.ZipFile(wheel) as opened:
        name = next(name for name in opened.namelist() if name.endswith('.dist-info/METADATA'))
        needs = Parser().parsestr(opened.read(name).decode()).get_all('Requires-Dist')
    always = [need for need in needs if 'extra ==' not in need]
    assert sorted(re.match(r'[\w-]+', need)[0] for need in always) == [
        'numpy',
        'packaging',
        'pillow',
        'rich',
        'safetensors',
        'torch',
    ]
    assert all('>=' in need and '<' not in need and '==' not in need for need in always)
    pinned = {need.partition(';')[0].strip() for need in needs if 'extra ==' in need}
    assert {part.maintained for part in PARTS} <= pinned


def test_original_requirements_are_the_pins_that_messages_name(project_root):
    requirements = project_root / 'requirements' / 'original.txt'
    if not requirements.exists():
        pytest.skip('reads the requirements of a checkout, and this is none')
    assert {part.original for part in PARTS} <= set(requirements.read_text().split('\n'))


def test_model_index_names_files_that_exist(project_root):
    for entry in re.findall(r'- (\S+)', (project_root / 'model-index.yml').read_text()):
        assert (project_root / entry).is_file(), entry


def install_metadata(folder, **versions):
    """Write what an installer leaves behind of each distribution, without its modules."""
    for name, version in versions.items():
        info = folder / f'{name}-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: {name.replace("_", "-")}\nVersion: {version}\n'
        )


@pytest.mark.parametrize(
    'versions',
    [
        {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmdet': '3.3.0'},
        {'mmengine': '0.10', 'mmcv': '2.0.0rc4', 'mmdet': '3.10.0'},
        {'onedl_mmengine': '0.10.12', 'onedl_mmcv': '2.3.6+cu128', 'onedl_mmpretrain': '1.3.6'},
    ],
)
def test_either_stack_is_accepted(tmp_path, monkeypatch, versions):
    install_metadata(tmp_path, **versions)
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    assert stack_problems() == []


@pytest.mark.parametrize(
    ('name', 'version', 'said'),
    [
        ('mmcv', '1.7.2', ['mmcv 1.7.2 is too old', '2.0.0rc4 or later', 'mmcv==2.1.0']),
        (
            'mmcv',
            '2.0.0rc3+cu117',
            ['mmcv 2.0.0rc3+cu117 is too old', 'CFLAGS=-g0 MMCV_WITH_OPS=1'],
        ),
        ('mmdet', '2.28.2', ['mmdet 2.28.2 is too old', '3.2.0 or later', 'mmdet==3.3.0']),
        ('onedl_mmengine', '0.9.1', ['mmengine 0.9.1 is too old', 'onedl-mmengine==0.10.12']),
    ],
)
def test_old_part_is_named_with_its_cure(tmp_path, monkeypatch, name, version, said):
    prefix = 'onedl_' if 'onedl' in name else ''
    rest = {f'{prefix}mmengine': '0.10.12', f'{prefix}mmcv': '2.1.0'}
    install_metadata(tmp_path, **{**rest, name: version})
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    (problem,) = stack_problems()
    for words in said:
        assert words in problem.what + problem.cure


@pytest.fixture
def bare_python(tmp_path):
    """Run Python with mmattn, the standard library, packaging and rich, and nothing else."""
    skipped = shutil.ignore_patterns('__pycache__', '.mim')
    shutil.copytree(Path(mmattn.__file__).parent, tmp_path / 'mmattn', ignore=skipped)
    for module in ('packaging', 'rich', 'markdown_it', 'mdurl', 'pygments'):
        (tmp_path / module).symlink_to(Path(find_spec(module).origin).parent)

    def run(*arguments):
        # -S leaves site-packages out.
        command = [sys.executable, '-S', *arguments]
        environ = {**os.environ, 'PYTHONPATH': str(tmp_path)}
        return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_import_without_a_stack_names_packages_and_commands(bare_python):
    done = bare_python('-c', 'import mmattn')
    assert done.returncode == 1
    assert 'ImportError' in done.stderr
    for words in ('mmengine is not installed', "pip install 'onedl-mmengine==0.10.12'"):
        assert words in done.stderr
    for words in ('uv sync', 'python -m mmattn doctor'):
        assert words in done.stderr
    assert 'mmdet' not in done.stderr and 'mmcv is not' not in done.stderr


def test_doctor_runs_without_a_stack(bare_python):
    done = bare_python('-m', 'mmattn', 'doctor')
    assert done.returncode == 1, done.stderr
    for words in ('torch is not installed', 'mmcv is not installed', 'cure: pip install', 'gcc'):
        assert words in done.stdout
    assert 'insert_attention work without it' in done.stdout
    assert "No module named 'torch'" in ' '.join(done.stdout.split())


def test_build_kernels_without_torch(bare_python):
    done = bare_python('-m', 'mmattn', 'build-kernels')
    assert done.returncode == 2
    said = 'error: the kernels are compiled against torch, which is not installed.\n'
    assert done.stderr == said


def test_version_without_a_stack(bare_python):
    assert bare_python('-m', 'mmattn', 'version').stdout == f'mmattn {mmattn.__version__}\n'
    assert bare_python('-m', 'mmattn', '--version').stdout == f'mmattn {mmattn.__version__}\n'


def test_doctor_finds_this_environment_healthy(capsys):
    status = main(['doctor'])
    said = capsys.readouterr().out
    assert status == 0, said
    assert 'No problem found' in said
    assert re.search(r'mmcv operators\W+run', said)


def test_a_toolbox_without_mmcv_is_a_problem(monkeypatch):
    monkeypatch.setattr('mmattn.doctor.mismatches.find_spec', lambda name: None)
    found = Findings({'torch': '2.8', 'onedl-mmengine': '0.10.12', 'onedl-mmdetection': '3.5.1'})
    (problem,) = mismatches(found)
    assert problem.what == 'mmcv, without which mmdet cannot run, is not installed'
    assert "'onedl-mmcv==2.3.6'" in problem.cure
    del found.versions['onedl-mmdetection']
    assert not mismatches(found)


def test_the_commands_are_listed_with_a_line_each(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    assert main([]) == 2
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    names = [line[0] for line in lines[lines.index(['COMMAND']) + 1 :] if line]
    expected = 'doctor attention data experiments places advise report build-kernels'
    assert names[:8] == expected.split()
    assert not any('zoo' in line for line in lines)


@pytest.mark.parametrize(
    ('words', 'instead'),
    [
        (['zoo'], 'python docs/zoo.py'),
        (['zoo', '--measure'], 'python docs/zoo.py --measure'),
        (['attention', '--write', 'docs/a.md'], 'uv run --group docs sphinx-build docs site'),
    ],
)
def test_a_command_that_moved_names_the_new_one(words, instead, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert capsys.readouterr().err.endswith(f': {instead}\n')
    assert not list(tmp_path.iterdir())


def test_a_users_module_registers_everything(tmp_path):
    """``python -m`` of a package whose ``__init__`` imports mmattn, which no command is."""
    package = tmp_path / 'userpackage'
    package.mkdir()
    (package / '__init__.py').write_text('import mmattn\n')
    (package / 'train.py').write_text(
        "from mmengine.registry import MODELS\nprint(MODELS.get('mmattn.SE'))\n"
    )
    command = [sys.executable, '-m', 'userpackage.train', '-m', 'mmattn']
    environ = {**os.environ, 'PYTHONPATH': str(Path(mmattn.__file__).parents[1])}
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "<class 'mmattn.attention.se.SE'>\n", done.stderr


def test_no_cached_mmcv_without_operators_is_taken_for_a_build():
    for options in ('', REBUILD):
        assert install_command('onedl-mmcv==2.3.6', options).count('--no-cache-dir') == 1
    assert install_command('onedl-mmengine==0.10.12') == "pip install 'onedl-mmengine==0.10.12'"


def test_no_mismatch_in_the_tested_versions():
    assert (
        mismatches(Findings({**MAINTAINED, **MODERN}, torch_wanted=SpecifierSet('==2.11.0'))) == []
    )
    assert mismatches(Findings({**ORIGINAL, **OLDER})) == []


@pytest.mark.parametrize(
    ('findings', 'what', 'cure'),
    [
        (Findings(MAINTAINED), 'torch is not installed', 'pip install torch'),
        (
            Findings({**ORIGINAL, **OLDER, 'numpy': '2.2.6'}),
            'numpy 2.2.6 is installed',
            "pip install 'numpy<2'",
        ),
        (
            Findings({**MAINTAINED, **MODERN}, torch_wanted=SpecifierSet('==2.10.0')),
            'torchvision 0.26.0 needs torch==2.10.0, but torch 2.11.0',
            "pip install --upgrade 'torch==2.11.0' torchvision",
        ),
        (
            Findings({**MAINTAINED, **MODERN, 'opencv-python-headless': '5.0.0'}),
            'opencv-python and opencv-python-headless',
            'pip uninstall -y opencv-python opencv-python-headless',
        ),
        (
            Findings({**MAINTAINED, **MODERN, 'mmcv': '2.1.0', 'setuptools': '80.1'}),
            'parts of both stacks are installed',
            'pip uninstall -y mmcv && ',
        ),
        (
            Findings({**ORIGINAL, **OLDER, 'onedl-mmengine': '0.10.12'}),
            'onedl-mmengine are of the maintained one',
            'pip uninstall -y onedl-mmengine && pip install --force-reinstall --no-deps '
            "--no-cache-dir 'mmengine==0.10.7'",
        ),
        (
            Findings({**ORIGINAL, **OLDER, 'setuptools': '82.0.0'}),
            'pkg_resources, which setuptools 82.0.0 does not bring',
            "pip install 'setuptools<81'",
        ),
        (
            Findings({k: v for k, v in {**ORIGINAL, **OLDER}.items() if k != 'ftfy'}),
            'mmsegmentation imports ftfy',
            'pip install ftfy',
        ),
        (
            Findings(
                {**ORIGINAL, **OLDER, 'mmcv': '2.2.0'},
                failed_imports={
                    'mmdet': 'AssertionError: MMCV==2.2.0 is used but incompatible. '
                    'Please install mmcv>=2.0.0rc4, <2.2.0.'
                },
            ),
            'MMCV==2.2.0 is used but incompatible',
            "'mmcv==2.1.0'",
        ),
        (
            Findings({**MAINTAINED, **MODERN}, failed_imports={'cv2': 'ImportError: libGL.so.1'}),
            'cv2 is installed but does not import: ImportError: libGL.so.1',
            'opencv-python',
        ),
        (
            Findings({**MAINTAINED, **MODERN}, ops_error='no mmcv._ext', compiler='gcc 12'),
            "mmcv's compiled operators do not run: no mmcv._ext",
            'MMCV_WITH_OPS=1 pip install --no-build-isolation --force-reinstall',
        ),
        (
            Findings({**MAINTAINED, **MODERN}, ops_error='no mmcv._ext', compiler=None),
            "mmcv's compiled operators do not run",
            'install gcc and g++',
        ),
        (
            Findings({**MAINTAINED, **MODERN, 'mmcv-lite': '2.1.0'}),
            'mmcv-lite has no compiled operators',
            'pip uninstall -y mmcv-lite',
        ),
        (
            Findings({**MAINTAINED, **MODERN}, cuda_available=True),
            'compiled for the CPU only, but torch sees a GPU',
            'FORCE_CUDA=1',
        ),
    ],
)
def test_mismatch_is_found_with_its_cure(findings, what, cure):
    (problem,) = mismatches(findings)
    assert what in problem.what
    assert cure in problem.cure
