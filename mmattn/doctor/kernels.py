"""The kernels: which implementation runs where, why not a faster one, and the command that
compiles the C++ one into this environment."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from packaging.version import Version

from mmattn.environment import Problem, installed
from mmattn.utils.errors import UserError, one_line

PACKAGE = Path(__file__).parents[1]
CHECKOUT = PACKAGE.parent
CXX = os.environ.get('CXX') or 'c++'
LEFT_BY_A_BUILD = shutil.ignore_patterns('build', '*.egg-info', '_C*', 'built.json', '__pycache__')


def kernels_report() -> tuple[dict[str, str], list[str], list[Problem]]:
    """What runs on which device, how it could be faster, and what is wrong."""
    try:
        return _report()
    except UserError as error:  # a wrong MMATTN_KERNELS
        return _on_both('none'), [], [Problem(str(error), 'unset MMATTN_KERNELS')]
    except Exception as error:  # torch may be missing, or raise anything
        return _on_both(f'none ({one_line(error)})'), [], []


def _report() -> tuple[dict[str, str], list[str], list[Problem]]:
    from mmattn.kernels import choice

    if choice.mode() == choice.PURE:
        return _on_both(f'pure PyTorch ({choice.VARIABLE}=pure)'), [], []
    no_cpp, no_triton = choice.why_no_cpp(), choice.why_no_triton()
    rows = {
        'CPU': f'pure PyTorch ({no_cpp})' if no_cpp else f'C++ ({choice.vector_level()})',
        'CUDA': f'pure PyTorch ({no_triton})' if no_triton else f'Triton {version("triton")}',
    }
    notes = []
    if no_cpp and choice.CAN_REGISTER:
        compiler = '' if _compiler() else 'install g++, then: '
        notes.append(f'attention is faster on CPUs with the C++ kernels: {compiler}{_command()}')
    return rows, notes, []


def _on_both(said: str) -> dict[str, str]:
    return {'CPU': said, 'CUDA': said}


def _command() -> str:
    """What compiles the kernels into this environment."""
    if Path(sys.prefix) == CHECKOUT / '.venv' and (CHECKOUT / 'uv.lock').exists():
        # The next `uv run` would undo anything else.
        return 'uv sync --reinstall-package mmattn-kernels'
    return 'python -m mmattn build-kernels'


def _compiler() -> str | None:
    """The path of the compiler that torch takes for extensions."""
    return shutil.which(shlex.split(CXX)[0])


def sources() -> Path:
    """The folder of the C++ package: what the wheel brought, or of this checkout.

    Raises:
        UserError: If it is in neither place.
    """
    for folder in (PACKAGE / '.mim' / 'kernels', CHECKOUT / 'kernels'):
        if (folder / 'setup.py').is_file():
            return folder
    raise UserError(f'the sources of the kernels are not beside {PACKAGE}: install mmattn again')


def build_kernels() -> None:
    """Compile the C++ kernels for this environment's torch, and install them.

    Raises:
        UserError: If something is missing that this needs, or the compiler fails.
    """
    torch_version = _check_what_it_needs()
    if 'uv sync' in _command():
        raise UserError(f'this environment is made by uv from {CHECKOUT}; there: {_command()}')
    folder = sources()
    installer = _installer()
    print(
        f'Compiling the kernels in {folder} for torch {torch_version} with {_compiler()}, without '
        f'network: about a minute on two cores.',
        flush=True,
    )
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        # A build leaves files behind, and the folder may not be writable.
        copy = shutil.copytree(folder, Path(scratch) / 'kernels', ignore=LEFT_BY_A_BUILD)
        command = [*installer, str(copy)]
        done = subprocess.run(
            command, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # In another process: this one may have loaded an older build.
        loaded = subprocess.run(
            [sys.executable, '-c', 'import mmattn_kernels; print(mmattn_kernels.load())'],
            cwd=scratch,
            capture_output=True,
            text=True,
        )
    reason = (loaded.stdout or loaded.stderr.splitlines()[-1]).strip()
    if done.returncode or reason:
        lines = [line.removeprefix('DEBUG ') for line in done.stdout.splitlines()]
        said = [line for line in lines if 'error:' in line][:5] or lines[-20:]
        failed = f'{shlex.join(command[:4])} ... failed' if done.returncode else reason
        raise UserError('\n'.join([f'{failed}:', *said]), exit_code=1)
    print(f'Installed in {time.monotonic() - start:.0f} s; they run on CPUs from now on.')


def _check_what_it_needs() -> str:
    """The version of torch."""
    found = installed(['torch', 'setuptools', 'wheel', 'ninja'])
    if 'torch' not in found:
        raise UserError('the kernels are compiled against torch, which is not installed.')
    if Version(found['torch']) < Version('2.4'):
        raise UserError(f'the kernels need torch 2.4 or newer, this is {found["torch"]}.')
    setuptools = found.get('setuptools', '0')
    with_wheel = Version(setuptools) >= Version('70.1') or 'wheel' in found
    if Version(setuptools) < Version('68') or not with_wheel:
        here = f'setuptools {setuptools} without wheel' if setuptools != '0' else 'no setuptools'
        raise UserError(f"{here} here; needed is: pip install 'setuptools>=70.1,<81'")
    if not _compiler():
        raise UserError(
            f'no C++ compiler was found (looked for {CXX}): install g++, or name yours in CXX.'
        )
    return found['torch']


def _installer() -> list[str]:
    """Installs a folder into this environment with what is in it, whatever was there."""
    if find_spec('pip'):
        pip = [sys.executable, '-m', 'pip', 'install', '-v', '--disable-pip-version-check']
        return [*pip, '--no-index', '--no-build-isolation', '--no-deps', '--force-reinstall']
    uv = [sys.executable, '-m', 'uv'] if find_spec('uv') else ['uv']
    if uv == ['uv'] and not shutil.which('uv'):
        raise UserError(f'neither pip nor uv is here to install with (Python {sys.executable}).')
    target = ['pip', 'install', '--python', sys.executable, '-v', '--offline', '--no-config']
    return [*uv, *target, '--no-build-isolation', '--no-deps', '--reinstall']
