"""Stand-ins for compiled packages that the toolboxes import but no measurement uses.

What reads images, draws or evaluates (OpenCV, Pillow, matplotlib, ...) is not on a machine that
has nothing but torch, nor are mmcv's operators. ``import absent`` makes them importable; whatever
then uses a name of them raises ImportError. ``pytest -p absent`` does the same for the tests.
"""

import importlib.abc
import importlib.machinery
import sys
from importlib.util import find_spec
from types import ModuleType

NAMES = (
    *('cv2', 'PIL', 'matplotlib', 'safetensors', 'pycocotools', 'scipy', 'shapely'),
    *('torchvision', 'mmcv._ext', 'sklearn', 'onnx'),
)


class Absent(type):
    """The type of every name in a package that is not here."""

    def __getattr__(cls, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return absent(f'{cls.__name__}.{name}')

    def __call__(cls, *args, **kwargs):
        raise ImportError(f'{cls.__name__} was used, which is not on this machine')

    def __or__(cls, other):
        return cls

    __ror__ = __or__


def absent(name):
    return Absent(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds any module of the given packages."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name in self.names or name.partition('.')[0] in self.names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return ModuleType(spec.name)

    def exec_module(self, module):
        def get(name):
            if name.startswith('__'):
                raise AttributeError(name)
            return absent(f'{module.__name__}.{name}')

        module.__getattr__ = get


def is_missing(name):
    try:
        return find_spec(name) is None
    except ModuleNotFoundError:  # its package
        return True


MISSING = [name for name in NAMES if is_missing(name)]
sys.meta_path.append(Finder(MISSING))
