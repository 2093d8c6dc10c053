"""Registries of scope ``mmattn``, children of MMEngine's root registries.

``type='mmattn.NAME'`` finds their members from any toolbox's config. Members are
found in the sources of the package and imported when they are asked for, so that
importing mmattn imports no toolbox, and a new file needs no entry in a list.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path

from mmattn.environment import PARTS, check, install_command

check()

from mmengine import registry as roots  # noqa: E402  (checked first)


class LazyRegistry(roots.Registry):
    """A registry that imports its members when they are asked for.

    Args:
        name: That of the registry in the sources, where ``@MODELS.register_module()`` above
            a class makes it a member, and of MMEngine's root registry.
        packages: Packages of mmattn whose modules are looked through.
    """

    def __init__(self, name: str, packages: Sequence[str]) -> None:
        parent = getattr(roots, name)
        super().__init__(parent.name, parent=parent, scope='mmattn')
        self.decorator = f'@{name}'
        self.packages = packages

    @cached_property
    def modules(self) -> dict[str, str]:
        """Name of a member -> the module that registers it, imported or not."""
        pattern = rf'^{self.decorator}\.register_module\(.*\)\n(?:@.*\n)*class (\w+)'
        root = Path(__file__).parent
        return {
            name: '.'.join(('mmattn', *path.relative_to(root).with_suffix('').parts))
            for package in self.packages
            for path in sorted((root / package).rglob('*.py'))
            for name in re.findall(pattern, path.read_text(encoding='utf-8'), re.MULTILINE)
        }

    def names_in(self, package: str) -> list[str]:
        """Sorted names of the members that a package of mmattn registers."""
        return sorted(n for n, module in self.modules.items() if module.startswith(f'{package}.'))

    def member_of(self, package: str, name: str) -> type:
        """What a package's ``__getattr__`` returns: its member of this name.

        Raises:
            AttributeError: If the package has none.
        """
        if name in self.names_in(package):
            return self.get(name)
        raise AttributeError(f'module {package!r} has no attribute {name!r}')

    def get(self, key: str) -> type | None:
        """The member of this name, as mmengine's own ``get``.

        Raises:
            ImportError: If it needs mmcv or a toolbox, which is not installed.
        """
        if isinstance(key, str):
            scope, name = self.split_scope_key(key)
            if scope in (None, self.scope):
                self._import(name)
        return super().get(key)

    def _import(self, name: str) -> None:
        if name not in self.modules or name in self._module_dict:
            return
        try:
            # Whatever loads a member's weights reads them safely.
            import_module('mmattn.utils.loading')
        except ModuleNotFoundError as error:
            # The maintained mmengine does not bring OpenCV, without which none of its loading runs.
            if error.name != 'cv2':
                raise
        try:
            import_module(self.modules[name])
        except ModuleNotFoundError as error:
            missing = (error.name or '').partition('.')[0]
            part = next((part for part in PARTS if part.module == missing), None)
            if part is None:
                raise
            raise ImportError(
                f'{self.scope}.{name} needs {part.module}, which is not installed: '
                f"{install_command(part.maintained)} (or '{part.original}' beside the original "
                f'mmengine)',
                name=part.module,
            ) from error

    def _register_module(self, module: type, module_name=None, force: bool = False) -> None:
        """Register a class; one of another file must not take the name of a member."""
        names = [module_name] if isinstance(module_name, str) else module_name
        for name in names or [module.__name__]:
            if self.modules.get(name, module.__module__) != module.__module__:
                self._import(name)
        super()._register_module(module, module_name, force)

    @property
    def imported(self) -> dict[str, type]:
        """The members that are imported already, those of users included."""
        return self._module_dict

    @property
    def module_dict(self) -> dict[str, type]:
        """All members but those that need what is not installed; imports them."""
        for name in self.modules:
            try:
                self._import(name)
            except ImportError as error:
                if error.name not in {part.module for part in PARTS}:
                    raise
        return self._module_dict


MODELS = LazyRegistry('MODELS', ['attention', 'backbones', 'necks', 'insertion'])
DATASETS = LazyRegistry('DATASETS', ['datasets'])
METRICS = LazyRegistry('METRICS', ['datasets'])
HOOKS = LazyRegistry('HOOKS', ['engine'])
RUNNERS = LazyRegistry('RUNNERS', ['engine'])
