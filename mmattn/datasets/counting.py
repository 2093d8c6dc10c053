"""Counting what lies in a folder, in the few ways that the data sets need."""

import hashlib
import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

# Folder of the data set -> how many were found.
Count = Callable[[Path], int]


def _in_folder(count: Callable[..., int]) -> Callable[..., Count]:
    """Leaves the folder for later: what counts files('*.jpg') in it is files('*.jpg')(root)."""
    return lambda *arguments: lambda root: count(root, *arguments)


@_in_folder
def files(root: Path, *patterns: str) -> int:
    """Files that match one of the patterns, whose last part is compared in lower case."""
    return sum(
        fnmatch(entry.name.lower(), part.name) and entry.is_file()
        for part in map(PurePosixPath, patterns)
        for folder in _folders(root, part.parent)
        # Much faster than glob for ImageNet's 1.3 million files.
        for entry in os.scandir(folder)
    )


def _folders(root: Path, pattern: PurePosixPath) -> list[Path]:
    found = [root] if str(pattern) == '.' else root.glob(str(pattern))
    return [folder for folder in found if folder.is_dir()]


@_in_folder
def listed(root: Path, list_file: str, image: str) -> int:
    """Names of a list, one a line, whose image is there; ``image`` has {} for the name."""
    folder = root / PurePosixPath(image).parent
    present = set(os.listdir(folder)) if folder.is_dir() else set()
    name = PurePosixPath(image).name
    return sum(name.format(line.strip()) in present for line in _lines(root / list_file))


@_in_folder
def lines(root: Path, list_file: str, ending: str) -> int:
    """Lines of a list that end so."""
    return sum(line.rstrip().endswith(ending) for line in _lines(root / list_file))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding='utf-8-sig').splitlines() if path.is_file() else []


@_in_folder
def batches(root: Path, folder: str, sums: Mapping[str, str], images: int) -> int:
    """Images in files that each hold ``images`` of them and have the MD5 sum of the original."""
    paths = [(root / folder / name, expected) for name, expected in sums.items()]
    return images * sum(path.is_file() and _md5(path) == expected for path, expected in paths)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def total(*counts: Count) -> Count:
    """The sum of several counts."""
    return lambda root: sum(count(root) for count in counts)
