"""The sources of checkpoints: one file each, found by itself, whose name is the source's."""

from importlib import import_module
from pathlib import Path

from mmattn.weights.source import CheckpointSource

NAMES = sorted(path.stem for path in Path(__file__).parent.glob('[!_]*.py'))
SOURCES: dict[str, CheckpointSource] = {
    name: import_module(f'{__name__}.{name}').SOURCE._replace(name=name) for name in NAMES
}
