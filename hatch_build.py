"""Build hook of the wheel: what OpenMMLab's tools look for under ``mmattn/.mim``.

An editable install gets nothing: a copy there would hide later edits.
"""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = ('configs', 'tools', 'model-index.yml')
# The sources of the kernels, for `python -m mmattn build-kernels`; not what a build left there.
KERNELS = ('pyproject.toml', 'setup.py', 'src/*', 'mmattn_kernels/*.py')


class MimHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        """Add the shipped files to a wheel; ``version`` is 'editable' or 'standard'."""
        if version == 'standard':
            root = Path(self.root)
            kernels = [path for glob in KERNELS for path in (root / 'kernels').glob(glob)]
            for path in (*(root / name for name in SHIPPED), *kernels):
                name = path.relative_to(root).as_posix()
                build_data['force_include'][str(path)] = f'mmattn/.mim/{name}'
