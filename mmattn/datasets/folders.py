"""Finding what the folders of the data sets hold."""

import functools
from importlib import import_module
from pathlib import Path
from typing import Any


@functools.cache
def members(role: str) -> dict[str, Any]:
    """Name of a data set -> what it has of a role: 'guide', 'converter', 'layout' or 'demo'.

    That is the file in the data set's folder, and in capitals the name in it.
    """
    return {
        path.parent.name: getattr(
            import_module(f'{__package__}.{path.parent.name}.{role}'), role.upper()
        )
        for path in sorted(Path(__file__).parent.glob(f'*/{role}.py'))
    }
