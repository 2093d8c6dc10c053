"""What mmattn needs of the OpenMMLab stack, found without importing any of it.

The same modules come under two sets of distribution names: the maintained
stack (``onedl-*``) and the original one. mmattn depends on neither by name.
"""

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from packaging.version import Version


@dataclass(frozen=True)
class StackPart:
    """A package of the stack."""

    module: str  # what Python imports
    minimum: str  # the oldest version that mmattn works with
    maintained: str  # the distribution in the maintained stack, with the version of our tests
    original: str  # the same in the original stack
    required: bool = False  # whether `import mmattn` fails without it

    @property
    def distributions(self) -> tuple[str, str]:
        """The names it may be installed under, the maintained one first."""
        return self.maintained.split('==')[0], self.original.split('==')[0]


PARTS = (
    StackPart('mmengine', '0.10.0', 'onedl-mmengine==0.10.12', 'mmengine==0.10.7', required=True),
    StackPart('mmcv', '2.0.0rc4', 'onedl-mmcv==2.3.6', 'mmcv==2.1.0'),
    StackPart('mmdet', '3.2.0', 'onedl-mmdetection==3.5.1', 'mmdet==3.3.0'),
    StackPart('mmseg', '1.2.0', 'onedl-mmsegmentation==1.4.2', 'mmsegmentation==1.2.2'),
    StackPart('mmpretrain', '1.1.0', 'onedl-mmpretrain==1.3.6', 'mmpretrain==1.2.0'),
)
PART_NAMES = [name for part in PARTS for name in part.distributions]


@dataclass(frozen=True)
class Problem:
    """Something wrong with the environment, and the command that cures it."""

    what: str
    cure: str


def installed(names: Iterable[str]) -> dict[str, str]:
    """Distribution -> version, of those that are installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def stack_problems() -> list[Problem]:
    """Parts that are missing although required, or too old."""
    versions = installed(PART_NAMES)
    original = any(part.distributions[1] in versions for part in PARTS)
    problems = []
    for part in PARTS:
        names = [name for name in part.distributions if name in versions]
        if names:
            newest = max((versions[name] for name in names), key=Version)
            wrong = Version(newest) < Version(part.minimum)
            what = f'{part.module} {newest} is too old (installed as {", ".join(names)}; '
        else:
            # A checkout on the path has no metadata: its version stays unknown.
            wrong = part.required and find_spec(part.module) is None
            what = f'{part.module} is not installed ('
        if wrong:
            cure = install_command(part.original if original else part.maintained)
            problems.append(Problem(f'{what}mmattn needs {part.minimum} or later)', cure))
    return problems


def install_command(requirement: str, options: str = '') -> str:
    """The shell command that installs one part, such as 'mmcv==2.1.0', with options of pip."""
    arguments = f"{options} '{requirement}'".lstrip()
    if 'mmcv' not in requirement:
        return f'pip install {arguments}'
    # Its index holds the source only, which compiles against the torch that is there; without
    # debug information in half of the time. Installers keep what they built and take it again
    # whatever the variables say: an mmcv without operators, too.
    if '--no-cache-dir' not in options:
        arguments = f'--no-cache-dir {arguments}'
    return (
        "pip install 'setuptools<81' wheel packaging ninja psutil && "
        f'CFLAGS=-g0 MMCV_WITH_OPS=1 pip install --no-build-isolation {arguments}'
    )


def check() -> None:
    """Refuse an environment that mmattn cannot work in.

    Raises:
        ImportError: Naming each package that is missing or too old, with its cure.
    """
    problems = stack_problems()
    if not problems:
        return
    lines = [
        'mmattn cannot be imported in this environment:',
        *(f'  - {problem.what}\n    {problem.cure}' for problem in problems),
        'In a checkout of mmattn, `uv sync` installs a whole stack that is known to work, in about',
        '8 minutes on two cores: it compiles mmcv. The README lists prebuilt wheels of it.',
        'An environment made by uv takes `uv pip install` for `pip install`.',
        '`python -m mmattn doctor` shows the whole environment.',
    ]
    raise ImportError('\n'.join(lines), name='mmattn')


def processor(device: object = 'cpu') -> str:
    """A device as people know it: its name, and its memory or cores."""
    import torch

    if torch.device(device).type == 'cuda':
        properties = torch.cuda.get_device_properties(device)
        return f'{properties.name}, {properties.total_memory / 2**30:.0f} GiB'
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return f'{_cpu()}, {cores} cores'


def _cpu() -> str:
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Distribution -> version: mmattn, torch and the stack, as far as they are installed."""
    return installed(['mmattn', 'mmattn-kernels', 'torch', 'torchvision', 'numpy', *PART_NAMES])


def revision() -> str | None:
    """The commit of the checkout that mmattn runs from, '-dirty' with changes; None in a wheel."""
    root = Path(__file__).parents[1]
    if not (root / '.git').exists():
        return None
    command = ['git', '-C', str(root), 'describe', '--always', '--dirty', '--abbrev=12']
    with suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip() or None
    return None
