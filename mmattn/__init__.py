"""Plug-and-play attention for mmdetection, mmsegmentation and mmpretrain.

Importing the package registers its attentions and backbones with MMEngine
under the scope ``mmattn``: ``custom_imports = dict(imports=['mmattn'])``.
"""

import sys
from importlib import import_module
from typing import Any

__version__ = '0.1.0'

# `python -m mmattn doctor` has to run where nothing of the stack can be imported; its other
# commands import what they need. sys.argv[0] is '-m' while Python looks for what to run.
_words = iter(sys.orig_argv)
if sys.argv[:1] != ['-m'] or '-m' not in _words or next(_words, '') != __name__:
    from mmattn import registry  # noqa: F401

    # From now on mmengine loads checkpoints safely; the registry sees to it where it comes later.
    if 'mmengine.runner' in sys.modules:
        from mmattn.utils import loading  # noqa: F401


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for."""
    if name in ('attention', 'backbones', 'datasets', 'necks'):
        return import_module(f'{__name__}.{name}')
    if name == 'insert_attention':
        return import_module(f'{__name__}.insertion').insert_attention
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
