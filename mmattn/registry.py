"""Registries of scope ``mmattn``, children of MMEngine's root registries.

``type='mmattn.NAME'`` finds their members from any toolbox's config. The
``locations`` are imported at the first look-up, so that importing mmattn does
not import a toolbox; members that need one are imported when they are asked for
by name.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import Registry

from mmattn.environment import PARTS


class LazyRegistry(Registry):
    """A registry whose ``lazy`` members are imported when they are asked for.

    The toolbox from which they inherit takes seconds to import and need not be
    installed for the other members.

    Args:
        toolbox: The module of the toolbox, such as mmpretrain.
        lazy: Name of a member -> the module that registers it.
        args, options: Those of :class:`Registry`.
    """

    def __init__(self, *args, toolbox: str, lazy: Mapping[str, str], **options) -> None:
        super().__init__(*args, **options)
        self.toolbox = toolbox
        self.lazy = lazy

    def get(self, key: str) -> type | None:
        """The member of this name, as :meth:`Registry.get`.

        Raises:
            ImportError: If it needs the toolbox and that is not installed.
        """
        if isinstance(key, str):
            scope, name = self.split_scope_key(key)
            if scope in (None, self.scope):
                self._import(name)
        return super().get(key)

    def _import(self, name: str) -> None:
        if name not in self.lazy or name in self._module_dict:
            return
        if find_spec(self.toolbox) is None:
            part = next(part for part in PARTS if part.module == self.toolbox)
            raise ImportError(
                f'{self.scope}.{name} inherits from {self.toolbox}, which is not installed: '
                f"pip install '{part.maintained}' (or '{part.original}' beside the original "
                f'mmengine)',
                name=self.toolbox,
            )
        import_module(self.lazy[name])

    @property
    def imported(self) -> dict[str, type]:
        """The members that are imported already."""
        return self._module_dict

    @property
    def module_dict(self) -> dict[str, type]:
        """All members; imports the lazy ones, where their toolbox is installed."""
        if find_spec(self.toolbox) is not None:
            for name in self.lazy:
                self._import(name)
        return self._module_dict


MODELS = LazyRegistry(
    'model',
    parent=ROOT_MODELS,
    scope='mmattn',
    locations=['mmattn.attention', 'mmattn.backbones', 'mmattn.necks'],
    toolbox='mmpretrain',
    lazy={
        'MobileNetV2': 'mmattn.backbones.mobilenet_v2',
        'RepVGG': 'mmattn.backbones.repvgg',
        'SwinTransformer': 'mmattn.backbones.swin',
    },
)
DATASETS = LazyRegistry(
    'dataset',
    parent=ROOT_DATASETS,
    scope='mmattn',
    locations=['mmattn.datasets'],
    toolbox='mmdet',
    lazy={
        'ExDarkDataset': 'mmattn.datasets.exdark',
        'FLIRDataset': 'mmattn.datasets.flir',
        'VisDroneDataset': 'mmattn.datasets.visdrone',
    },
)
METRICS = LazyRegistry(
    'metric',
    parent=ROOT_METRICS,
    scope='mmattn',
    locations=['mmattn.evaluation'],
    toolbox='mmdet',
    lazy={'VisDroneMetric': 'mmattn.evaluation.visdrone_metric'},
)
HOOKS = Registry('hook', parent=ROOT_HOOKS, scope='mmattn', locations=['mmattn.engine'])
