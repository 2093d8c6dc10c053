"""Build hook of the wheel: what OpenMMLab's tools look for under ``mmattn/.mim``.

An editable install gets nothing: a copy there would hide later edits.
"""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = ('configs', 'tools', 'model-index.yml')


class MimHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        """Add the shipped files to a wheel; ``version`` is 'editable' or 'standard'."""
        if version == 'standard':
            for name in SHIPPED:
                build_data['force_include'][str(Path(self.root, name))] = f'mmattn/.mim/{name}'
