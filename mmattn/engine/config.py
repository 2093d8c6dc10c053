"""Finding, reading and adjusting configs before anything is built."""

import argparse
import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction

from mmattn.utils.errors import UserError
from mmattn.utils.walk import type_name

# Similar enough to be a slip of the keyboard: 'backbon', 'attenion', but not 'test_cfg'.
TYPO_CUTOFF = 0.8


def shipped_configs_dir() -> Path | None:
    """Folder of the configs that come with mmattn: inside the wheel or beside the checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / '.mim' / 'configs', package.parent / 'configs'):
        if folder.is_dir():
            return folder
    return None


def shipped_configs() -> dict[str, Path]:
    """Map the bare name of every shipped config to its path."""
    folder = shipped_configs_dir()
    if folder is None:
        return {}
    paths = sorted(folder.rglob('*.py'))
    return {path.stem: path for path in paths if '_base_' not in path.relative_to(folder).parts}


def find_config(name: str) -> Path:
    """Turn what the user typed into the path of a config file.

    Args:
        name: A path, or the name of a shipped config with or without
            ``configs/`` before it and ``.py`` behind it.

    Raises:
        UserError: If no such file exists; names the nearest shipped configs.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = shipped_configs()
    # 'configs/X.py' means the shipped file from any working directory, as the README writes it.
    if path.parent in (Path('.'), Path('configs')):
        stem = path.name[:-3] if path.suffix == '.py' else path.name
        if stem in shipped:
            return shipped[stem]
    near = difflib.get_close_matches(path.stem, shipped, n=3, cutoff=0.5)
    lines = [f'config {name!r} does not exist.']
    if path.is_dir():
        lines = [f'{name!r} is a folder; a config is a file.']
    if near:
        lines.append('Did you mean ' + ' or '.join(near) + '?')
    elif shipped:
        lines.append('Shipped configs: ' + ', '.join(shipped) + '.')
    raise UserError(' '.join(lines))


def load_config(name: str, options: Sequence[str] = ()) -> tuple[Config, list[str]]:
    """Read a config and merge ``--cfg-options`` into it.

    Args:
        name: See :func:`find_config`; ``mmdet::...`` and ``mmpretrain::...`` name the
            toolboxes' own configs.
        options: ``key.sub=value`` strings.

    Returns:
        The config, in which ``type='mmattn.X'`` resolves, and notes for the user.

    Raises:
        UserError: If the file is missing or an option looks misspelt.
    """
    if '::' in name:
        from mmengine.hub import get_config

        cfg = get_config(name)
    else:
        cfg = Config.fromfile(str(find_config(name)))
    if isinstance(cfg.get('custom_imports'), dict):
        imports = cfg.custom_imports.get('imports', [])
        imports = [imports] if isinstance(imports, str) else list(imports)
    else:
        imports = []
    if 'mmattn' not in imports:
        cfg.custom_imports = {'imports': [*imports, 'mmattn'], 'allow_failed_imports': False}
    notes = merge_options(cfg, parse_options(options))
    return cfg, notes


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Parse ``key=value`` strings with the syntax of mmengine's ``DictAction``."""
    for option in options:
        if '=' not in option:
            raise UserError(f'--cfg-options {option!r} is not of the form key=value.')
    if not options:
        return {}
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    # A value may begin with a dash (lr=-1 does not, but '-x=1' would look like a flag).
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def merge_options(cfg: Config, options: dict[str, Any]) -> list[str]:
    """Merge options into ``cfg`` in place; refuse keys that look misspelt.

    A key the config does not have is refused if a neighbour's name is nearly
    the same and the component does not take it; other new keys are merged
    and noted.

    Args:
        cfg: Config to change.
        options: Dotted keys and values.

    Returns:
        Notes about keys that the config did not have before.
    """
    notes = []
    for key, value in options.items():
        note = _check_option(cfg, key)
        if note:
            notes.append(note)
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, AssertionError) as error:
            raise UserError(f'--cfg-options {key}={value} does not fit the config: {error}') from (
                error
            )
    return notes


def _check_option(cfg: Config, key: str) -> str | None:
    node: Any = cfg._cfg_dict
    parts = key.split('.')
    for depth, part in enumerate(parts):
        where = '.'.join(parts[:depth]) or 'the config'
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                raise UserError(
                    f'--cfg-options {key}: {where} is a list of {len(node)} entries; {part!r} '
                    f'is not an index from 0 to {len(node) - 1}.'
                )
            node = node[int(part)]
            continue
        if not isinstance(node, dict):
            raise UserError(f'--cfg-options {key}: {where} is {node!r}, which has no key {part!r}.')
        if part in node:
            # dict options cannot be merged into None (attention=None); start from nothing
            if node[part] is None and depth < len(parts) - 1:
                node[part] = ConfigDict()
            node = node[part]
            continue
        near = difflib.get_close_matches(part, node, n=1, cutoff=TYPO_CUTOFF)
        if near and part not in _accepted_keys(cfg, node, top_level=depth == 0):
            meant = '.'.join([*parts[:depth], near[0], *parts[depth + 1 :]])
            raise UserError(
                f'--cfg-options {key}: {where} has no key {part!r}. Did you mean {meant}? '
                f'It has: {", ".join(map(str, node))}.'
            )
        return f'--cfg-options {key}: a new key, {where} had no {part!r}.'
    return None


def _accepted_keys(cfg: Config, node: dict, top_level: bool) -> set[str]:
    """Argument names the component described by ``node`` is known to take."""
    if top_level:
        from mmengine.runner import Runner

        return set(inspect.signature(Runner.__init__).parameters)
    component = node.get('type')
    if isinstance(component, str):
        component = _find_class(component, cfg.get('default_scope') or 'mmengine')
    if not inspect.isclass(component):
        return set()
    names: set[str] = set()
    for base in component.__mro__:
        if '__init__' in vars(base):
            names |= set(inspect.signature(base.__init__).parameters)
    return names


def _find_class(name: str, scope: str) -> type | None:
    import mmengine.registry

    import mmattn  # noqa: F401  registers 'mmattn.X'

    full_name = name if '.' in name else f'{scope}.{name}'
    for registry in vars(mmengine.registry).values():
        if isinstance(registry, mmengine.registry.Registry):
            found = registry.get(full_name)
            if found is not None:
                return found
    return None


def set_work_dir(cfg: Config, work_dir: str | None, name: str, demo: bool = False) -> None:
    """Choose the work dir: command line, then the config, then ``work_dirs/NAME``."""
    if work_dir is None:
        work_dir = cfg.get('work_dir')
        if work_dir is None or demo:
            work_dir = str(Path('work_dirs') / (Path(name).stem + ('_demo' if demo else '')))
    cfg.work_dir = work_dir


def enable_amp(cfg: Config) -> None:
    """Switch the optimizer wrapper to automatic mixed precision."""
    wrapper = cfg.get('optim_wrapper')
    if not wrapper:
        raise UserError('--amp: the config has no optim_wrapper.')
    kind = wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(
            f"--amp works with optim_wrapper.type='OptimWrapper', but the config has {kind!r}."
        )
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by the real over the config's base batch size."""
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise UserError(
            '--auto-scale-lr: the config does not say which batch size its learning rate is '
            'meant for. Add auto_scale_lr=dict(base_batch_size=N) or '
            '--cfg-options auto_scale_lr.base_batch_size=N.'
        )
    cfg.auto_scale_lr.enable = True


def set_save_best(cfg: Config) -> str | None:
    """Keep the best checkpoint unless the config decides about that itself.

    mmengine's ``save_best='auto'`` takes the first metric, which for VOCMetric is
    one it cannot rank and for IoUMetric the pixel accuracy; so the task's own
    metric is named here.

    Returns:
        A note if the config validates but no metric to rank by is known.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    if hook is None or 'save_best' in hook or not cfg.get('val_evaluator'):
        return None
    evaluators = cfg.val_evaluator
    if isinstance(evaluators, dict):
        evaluators = evaluators.get('metrics') or [evaluators]
    metric = next(filter(None, map(main_metric, evaluators)), None)
    if metric is None:
        names = ', '.join(str(evaluator.get('type')) for evaluator in evaluators)
        return (
            f'no best checkpoint is kept: which metric of {names} matters is not known. Set '
            'default_hooks.checkpoint.save_best (and .rule).'
        )
    hook.save_best = metric
    hook.setdefault('rule', 'greater')
    return None


def main_metric(evaluator: dict) -> str | None:
    """Name under which an evaluator reports the metric its task is judged by."""
    kind = type_name(evaluator)
    if kind == 'CocoMetric':
        first = evaluator.get('metric', 'bbox')
        first = first if isinstance(first, str) else first[0]
        default, name = 'coco', {'bbox': 'bbox_mAP', 'segm': 'segm_mAP'}.get(first, 'AR@100')
    elif kind == 'VisDroneMetric':
        default, name = 'visdrone', 'bbox_mAP'
    elif kind == 'VOCMetric':
        default, name = 'pascal_voc', 'mAP'
    elif kind == 'IoUMetric':
        default, name = None, 'mIoU'
    elif kind == 'Accuracy':
        topk = evaluator.get('topk', 1)
        default, name = 'accuracy', f'top{topk if isinstance(topk, int) else min(topk)}'
    else:
        return None
    prefix = evaluator.get('prefix', default)
    return f'{prefix}/{name}' if prefix else name
