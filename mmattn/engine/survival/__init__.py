"""What makes a run survive: exact resume, signals, whole checkpoints, finite numbers, bad data.

:class:`mmattn.engine.runner.Runner` brings all of it into any toolbox's entry point::

    custom_imports = dict(imports=['mmattn'])
    runner_type = 'mmattn.Runner'
    survival = dict(save_every='10min')  # optional, see :class:`Survival`
"""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmattn.engine.survival.bad_data import BadDataHook
from mmattn.engine.survival.options import Survival as Survival


def survival_hooks(runner: Runner) -> list[Hook]:
    """The hooks that the runner registers itself, besides those of the config."""
    return [BadDataHook()]
