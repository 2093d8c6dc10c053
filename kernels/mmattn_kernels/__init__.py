"""The C++ implementation of mmattn's kernels, as operators ``torch.ops.mmattn_cpu``."""

import json
from pathlib import Path

__version__ = '0.1.0'

HERE = Path(__file__).parent


def load() -> str:
    """Load the operators; returns why they cannot be, '' if they are there."""
    import torch

    try:
        built = json.loads((HERE / 'built.json').read_text())
        if built['error']:
            return f'mmattn-kernels was built without its kernels: {built["error"]}'
        if built['torch'] != torch.__version__:
            return (
                f'mmattn-kernels was built for torch {built["torch"]}, this is {torch.__version__}'
            )
        torch.ops.load_library(next(HERE.glob('_C*')))
        if not torch.ops.mmattn_cpu.level():
            return 'this CPU has no AVX2'
    except StopIteration:
        return f'mmattn-kernels is not whole: no compiled library in {HERE}'
    except Exception as error:  # whatever a file or a loader raises
        return f'mmattn-kernels does not load: {" ".join(str(error).split())}'
    return ''
