"""The C++ implementation of mmattn's kernels, as operators ``torch.ops.mmattn_cpu``."""

import json
from pathlib import Path

HERE = Path(__file__).parent


def load() -> str:
    """Load the operators; returns why they cannot be, '' if they are there."""
    import torch

    path = HERE / 'built.json'
    if not path.exists():
        return f'{HERE} has not been built'
    built = json.loads(path.read_text())
    if built['error']:
        return f'mmattn-kernels was built without a working compiler or torch: {built["error"]}'
    if built['torch'] != torch.__version__:
        return f'mmattn-kernels was built for torch {built["torch"]}, this is {torch.__version__}'
    try:
        torch.ops.load_library(next(HERE.glob('_C*')))
    except (OSError, StopIteration) as error:
        return f'mmattn-kernels does not load: {error}'
    return ''
