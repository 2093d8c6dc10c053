"""Copy the pure-Python packages that run.py needs out of this environment into a folder.

    python benchmarks/gpu/pack.py DIR

DIR and this checkout are all that a machine with Python, torch, Triton and numpy has to be given;
nothing compiled is in it (see absent.py).
"""

import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

PACKAGES = (
    *('mmengine', 'mmcv', 'mmpretrain', 'mmdet'),
    *('addict', 'einops', 'markdown', 'modelindex', 'ordered_set', 'packaging', 'pathspec'),
    *('platformdirs', 'prettytable', 'rich', 'six', 'termcolor', 'terminaltables', 'tqdm'),
    *('wcwidth', 'yaml', 'yapf', 'yapf_third_party', 'markdown_it', 'mdurl'),
    *('pytest', '_pytest', 'py', 'pluggy', 'iniconfig', 'pygments'),
)
LEFT_OUT = shutil.ignore_patterns(
    '*.so', '*.so.*', '*.pyd', '__pycache__', 'include', 'csrc', '*.jpg'
)


def copy(name: str, folder: Path) -> None:
    spec = find_spec(name)
    if spec is None:
        raise SystemExit(f'{name} is not in this environment; run this in the one of `uv sync`')
    origin = Path(spec.origin)
    if origin.name == '__init__.py':
        shutil.copytree(origin.parent, folder / name, ignore=LEFT_OUT, dirs_exist_ok=True)
    else:
        shutil.copy(origin, folder)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    owners = packages_distributions()
    for name in PACKAGES:
        copy(name, folder)
        for owner in owners.get(name, []):
            # For its version.
            try:
                metadata = distribution(owner)._path
            except PackageNotFoundError:
                continue
            shutil.copytree(metadata, folder / metadata.name, ignore=LEFT_OUT, dirs_exist_ok=True)
    size = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    print(f'{folder}: {len(PACKAGES)} packages, {size / 2**20:.0f} MiB')


if __name__ == '__main__':
    main()
