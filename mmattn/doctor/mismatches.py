"""What is known to go wrong between versions: rules over what the doctor found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mmattn.environment import PARTS, Problem, StackPart, install_command

OPENCV = (
    'opencv-python',
    'opencv-python-headless',
    'opencv-contrib-python',
    'opencv-contrib-python-headless',
)
# Without --no-cache-dir pip hands out the wheel that it built before.
REBUILD = '--force-reinstall --no-deps --no-cache-dir'


@dataclass
class Findings:
    """What the doctor found.

    Args:
        versions: Distribution name -> version of what is installed.
        torch_wanted: The torch versions that torchvision asks for.
        failed_imports: Module -> error of what is installed but does not import.
        ops_error: Why mmcv's compiled operators do not run; None if they do.
        cuda: One line about CUDA.
        cuda_available: Whether torch sees a GPU.
        ops_cuda: The CUDA that mmcv was compiled with, None for a CPU build.
        compiler: First line of ``gcc --version``, None without gcc.
    """

    versions: dict[str, str]
    torch_wanted: SpecifierSet = SpecifierSet()
    failed_imports: dict[str, str] = field(default_factory=dict)
    ops_error: str | None = None
    cuda: str = 'unknown, torch does not import'
    cuda_available: bool = False
    ops_cuda: str | None = None
    compiler: str | None = None

    def stack(self) -> str:
        """'maintained' or 'original': the one that more parts belong to."""
        original = [part for part in PARTS if part.distributions[1] in self.versions]
        maintained = [part for part in PARTS if part.distributions[0] in self.versions]
        return 'original' if len(original) > len(maintained) else 'maintained'

    def pin(self, part: StackPart) -> str:
        """The version of a part that mmattn is tested with, in the stack found here."""
        return getattr(part, self.stack())


def mismatches(findings: Findings) -> list[Problem]:
    """Every known mismatch among the findings, with its cure."""
    return [problem for rule in RULES for problem in rule(findings)]


def no_torch(found: Findings) -> Iterator[Problem]:
    if 'torch' not in found.versions:
        yield Problem('torch is not installed', 'pip install torch torchvision')


def numpy_and_torch(found: Findings) -> Iterator[Problem]:
    torch, numpy = found.versions.get('torch'), found.versions.get('numpy')
    if torch and numpy and Version(torch) < Version('2.3') and Version(numpy) >= Version('2'):
        what = f'torch {torch} was compiled against numpy 1, but numpy {numpy} is installed'
        yield Problem(what, "pip install 'numpy<2'")


def torchvision_and_torch(found: Findings) -> Iterator[Problem]:
    torch, wanted = found.versions.get('torch'), found.torch_wanted
    if torch and not wanted.contains(torch, prereleases=True):
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
    maintained, original = (
        [part.distributions[i] for part in PARTS if part.distributions[i] in found.versions]
        for i in (0, 1)
    )
    if maintained and original:
        strays = maintained if found.stack() == 'original' else original
        missing = [part for part in PARTS if set(part.distributions) & set(strays)]
        reinstall = ' && '.join(install_command(found.pin(part), REBUILD) for part in missing)
        yield Problem(
            f'parts of both stacks are installed: {", ".join(maintained)} are of the '
            f'maintained one, {", ".join(original)} of the original one',
            f'pip uninstall -y {" ".join(strays)} && {reinstall}',
        )


def setuptools_of_original(found: Findings) -> Iterator[Problem]:
    setuptools = found.versions.get('setuptools')
    if 'mmengine' in found.versions and (not setuptools or Version(setuptools) >= Version('81')):
        which = f'setuptools {setuptools}' if setuptools else 'no setuptools'
        what = f'the original stack imports pkg_resources, which {which} does not bring'
        yield Problem(what, "pip install 'setuptools<81'")


def undeclared_of_original(found: Findings) -> Iterator[Problem]:
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
    no_torch,
    numpy_and_torch,
    torchvision_and_torch,
    two_opencvs,
    two_stacks,
    setuptools_of_original,
    undeclared_of_original,
    broken_imports,
    operators,
)
