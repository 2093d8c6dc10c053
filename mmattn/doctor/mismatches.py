"""What is known to go wrong between versions: rules over what the doctor found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mmattn.environment import PARTS, Problem, StackPart, install_command

OPENCV = (
    'opencv-python',
    'opencv-python-headless',
    'opencv-contrib-python',
    'opencv-contrib-python-headless',
)
# Names of the maintained stack, of the original one.
STACKS = tuple(zip(*(part.distributions for part in PARTS), strict=True))
# Without --no-cache-dir pip hands out the wheel that it built before.
REBUILD = '--force-reinstall --no-deps --no-cache-dir'


@dataclass
class Findings:
    """What the doctor found."""

    versions: dict[str, str]  # of the distributions that are installed
    torch_wanted: SpecifierSet = SpecifierSet()  # by torchvision
    failed_imports: dict[str, str] = field(default_factory=dict)  # module -> its error
    ops_error: str | None = None  # why mmcv's compiled operators do not run
    cuda: str = 'unknown, torch does not import'
    cuda_available: bool = False
    ops_cuda: str | None = None  # what mmcv was compiled with; None for a CPU build
    compiler: str | None = None  # first line of `gcc --version`

    def stacks(self) -> list[list[str]]:
        """Distributions of the maintained stack, and of the original one."""
        return [[name for name in stack if name in self.versions] for stack in STACKS]

    def pin(self, part: StackPart) -> str:
        """A part as mmattn is tested with it, in the stack that more parts here belong to."""
        maintained, original = self.stacks()
        return part.original if len(original) > len(maintained) else part.maintained


def mismatches(findings: Findings) -> list[Problem]:
    """Every known mismatch among the findings, with its cure."""
    return [problem for rule in RULES for problem in rule(findings)]


def torch_and_partners(found: Findings) -> Iterator[Problem]:
    torch, numpy = (found.versions.get(name) for name in ('torch', 'numpy'))
    if torch is None:
        yield Problem('torch is not installed', 'pip install torch torchvision')
        return
    if numpy and Version(torch) < Version('2.3') and Version(numpy) >= Version('2'):
        what = f'torch {torch} was compiled against numpy 1, but numpy {numpy} is installed'
        yield Problem(what, "pip install 'numpy<2'")
    wanted = found.torch_wanted
    if not wanted.contains(torch, prereleases=True):
        torchvision = found.versions['torchvision']
        yield Problem(
            f'torchvision {torchvision} needs torch{wanted}, but torch {torch} is installed',
            f"pip install --upgrade 'torch=={torch.split('+')[0]}' torchvision",
        )


def two_opencvs(found: Findings) -> Iterator[Problem]:
    names = [name for name in OPENCV if name in found.versions]
    if len(names) > 1:
        yield Problem(
            f'{" and ".join(names)} are both installed and overwrite each other as cv2',
            f'pip uninstall -y {" ".join(names)} && pip install opencv-python',
        )


def two_stacks(found: Findings) -> Iterator[Problem]:
    maintained, original = found.stacks()
    if maintained and original:
        strays = maintained if len(original) > len(maintained) else original
        missing = [part for part in PARTS if set(part.distributions) & set(strays)]
        reinstall = ' && '.join(install_command(found.pin(part), REBUILD) for part in missing)
        yield Problem(
            f'parts of both stacks are installed: {", ".join(maintained)} are of the '
            f'maintained one, {", ".join(original)} of the original one',
            f'pip uninstall -y {" ".join(strays)} && {reinstall}',
        )


def undeclared_by_original(found: Findings) -> Iterator[Problem]:
    setuptools = found.versions.get('setuptools')
    if 'mmengine' in found.versions and (not setuptools or Version(setuptools) >= Version('81')):
        which = f'setuptools {setuptools}' if setuptools else 'no setuptools'
        what = f'the original stack imports pkg_resources, which {which} does not bring'
        yield Problem(what, "pip install 'setuptools<81'")
    missing = [name for name in ('ftfy', 'regex') if name not in found.versions]
    if 'mmsegmentation' in found.versions and missing:
        what = f'mmsegmentation imports {" and ".join(missing)} without asking for it'
        yield Problem(what, f'pip install {" ".join(missing)}')


def broken_imports(found: Findings) -> Iterator[Problem]:
    parts = {part.module: part for part in PARTS}
    for module, error in found.failed_imports.items():
        # The toolboxes themselves say which mmcv and mmengine they accept.
        blamed = re.search(r'\b(mmcv|mmengine)\s*[=><]=', error, re.IGNORECASE)
        culprit = parts.get(blamed[1].lower() if blamed else module)
        if culprit:
            cure = install_command(found.pin(culprit), '--force-reinstall --no-deps')
        else:
            name = 'opencv-python' if module == 'cv2' else module
            cure = f'pip install --force-reinstall --no-deps {name}'
        yield Problem(f'{module} is installed but does not import: {error}', cure)


def missing_mmcv(found: Findings) -> Iterator[Problem]:
    toolboxes = [part.module for part in PARTS[2:] if set(part.distributions) & set(found.versions)]
    if toolboxes and find_spec('mmcv') is None:
        mmcv = next(part for part in PARTS if part.module == 'mmcv')
        what = f'mmcv, without which {", ".join(toolboxes)} cannot run, is not installed'
        yield Problem(what, install_command(found.pin(mmcv)))


def operators(found: Findings) -> Iterator[Problem]:
    mmcv = next(part for part in PARTS if part.module == 'mmcv')
    rebuild = install_command(found.pin(mmcv), REBUILD)
    if 'mmcv-lite' in found.versions:
        what = 'mmcv-lite has no compiled operators; detectors and many segmentors need them'
        yield Problem(what, f'pip uninstall -y mmcv-lite && {rebuild}')
    elif found.ops_error:
        if found.compiler is None:
            rebuild = f'install gcc and g++ (there is no gcc here), then: {rebuild}'
        yield Problem(f"mmcv's compiled operators do not run: {found.ops_error}", rebuild)
    elif found.cuda_available and found.ops_cuda is None:
        what = "mmcv's operators were compiled for the CPU only, but torch sees a GPU"
        cure = rebuild.replace('MMCV_WITH_OPS=1', 'MMCV_WITH_OPS=1 FORCE_CUDA=1')
        yield Problem(what, f'a prebuilt wheel (see the README), or: {cure}')


RULES = (
    torch_and_partners,
    two_opencvs,
    two_stacks,
    undeclared_by_original,
    broken_imports,
    missing_mmcv,
    operators,
)
