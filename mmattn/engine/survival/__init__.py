"""What makes a run survive: exact resume, signals, whole checkpoints, finite numbers, bad data.

:class:`mmattn.engine.runner.Runner` brings all of it into any toolbox's entry point::

    custom_imports = dict(imports=['mmattn'])
    runner_type = 'mmattn.Runner'
    survival = dict(save_every='10min')  # optional, see :class:`Survival`
"""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmattn.engine.survival.bad_data import BadDataHook
from mmattn.engine.survival.finite import FiniteHook
from mmattn.engine.survival.options import Survival as Survival
from mmattn.engine.survival.save_every import SaveEveryHook
from mmattn.engine.survival.stopping import SignalHook


def survival_hooks(runner: Runner) -> list[Hook]:
    """The hooks that the runner registers itself, besides those of the config."""
    hooks = [BadDataHook(), SignalHook()]
    if runner.survival.interval:
        hooks.append(SaveEveryHook(*runner.survival.interval))
    # An older config names it itself.
    if not any(isinstance(hook, FiniteHook) for hook in runner.hooks):
        hooks.append(FiniteHook())
    return hooks
