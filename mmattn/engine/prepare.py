"""Preparing a config: every command's one list of steps between a name and a run."""

import difflib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.registry import MODELS

from mmattn.engine.config import TOOLBOXES, load_config
from mmattn.utils.errors import UserError

# Changes the config in place, or refuses it; returns notes for the user.
Step = Callable[[Config], Iterable[str] | None]


class Prepared(NamedTuple):
    """A config that is ready for its use, and what the user should know of it."""

    cfg: Config
    notes: list[str]


def prepare(
    name: str, options: Sequence[str] = (), steps: Iterable[Step | None | bool] = ()
) -> Prepared:
    """Read a config, merge ``--cfg-options``, and take one step after the other.

    Args:
        name: Path or name of a config.
        options: ``key=value`` strings.
        steps: What to do with the config; None and False are passed over.

    Raises:
        UserError: If the config or an option is wrong, its toolbox is not installed, or a
            step refuses it.
    """
    cfg, notes = load_config(name, options)
    for step in [require_toolbox, *filter(None, steps)]:
        notes += step(cfg) or []
    return Prepared(cfg, list(dict.fromkeys(notes)))


def require_toolbox(cfg: Config) -> None:
    """Raise a :class:`UserError` if the toolbox that the config is for is not installed."""
    scope = cfg.get('default_scope')
    if not scope or scope in MODELS.children or importlib.util.find_spec(scope) is not None:
        return
    if scope in TOOLBOXES:
        raise UserError(
            f"the config is for {scope} (default_scope), which is not installed: 'python -m "
            "mmattn doctor' shows what is, and the command that installs the rest."
        )
    near = difflib.get_close_matches(scope, TOOLBOXES, n=1)
    meant = f'Did you mean {near[0]}?' if near else f'The toolboxes are {", ".join(TOOLBOXES)}.'
    raise UserError(f'default_scope={scope!r} is no installed package. {meant}')


def set_work_dir(cfg: Config, work_dir: str | None, name: str, demo: bool = False) -> None:
    """Choose the work dir: command line, then the config, then ``work_dirs/NAME``."""
    if work_dir is None:
        work_dir = cfg.get('work_dir')
        if work_dir is None or demo:
            work_dir = str(Path('work_dirs') / (Path(name).stem + ('_demo' if demo else '')))
    cfg.work_dir = work_dir


def set_seed(cfg: Config, seed: int) -> None:
    """Seed all random numbers."""
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
