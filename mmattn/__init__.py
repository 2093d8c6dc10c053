"""Plug-and-play attention for mmdetection, mmsegmentation and mmpretrain.

Importing the package registers its attentions and backbones with MMEngine
under the scope ``mmattn``: ``custom_imports = dict(imports=['mmattn'])``.
"""

import sys

from mmattn.environment import check

__version__ = '0.1.0'

# `python -m mmattn doctor` has to run where `import mmattn` cannot; sys.argv[0]
# is '-m' while Python looks for the package to run.
if sys.argv[:1] != ['-m']:
    check()
    from mmattn import attention, backbones, necks  # noqa: F401
