"""Finding and reading configs."""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.hub import get_config

from mmattn.engine.mistakes import explain_reading
from mmattn.engine.options import merge_options, parse_options
from mmattn.utils.errors import UserError

TOOLBOXES = ('mmdet', 'mmseg', 'mmpretrain')


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

    The folder of the config is searched last for what ``custom_imports`` names.

    Args:
        name: See :func:`find_config`; ``mmdet::...`` and ``mmpretrain::...`` name the
            toolboxes' own configs.
        options: ``key.sub=value`` strings.

    Returns:
        The config, in which ``type='mmattn.X'`` resolves, with the ``default_scope`` of the
        toolbox that its model comes from, and notes for the user.

    Raises:
        UserError: If the file is missing or broken, or an option looks misspelt.
    """
    path = None if '::' in name else find_config(name)
    folder = str(path.resolve().parent) if path else None
    if folder and folder not in sys.path:
        sys.path.append(folder)
    try:
        cfg = Config.fromfile(str(path)) if path else get_config(name)
    except Exception as error:
        message = explain_reading(error)
        if message is None:
            raise
        raise UserError(f'config {name}: {message}') from error
    imports = (cfg.get('custom_imports') or {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    files = {module: getattr(sys.modules.get(module), '__file__', None) for module in imports}
    notes = [
        f'{module} is imported from the folder of the config, {folder}.'
        for module, file in files.items()
        if file and folder and Path(file).resolve().is_relative_to(folder)
    ]
    if 'mmattn' not in imports:
        cfg.custom_imports = {'imports': [*imports, 'mmattn'], 'allow_failed_imports': False}
    notes += merge_options(cfg, parse_options(options))
    if not cfg.get('default_scope') and _toolbox_of_model(cfg):
        cfg.default_scope = _toolbox_of_model(cfg)
    return cfg, notes


def _toolbox_of_model(cfg: Config) -> str | None:
    """The toolbox of the model's class, or of the scope before its name."""
    kind = (cfg.get('model') or {}).get('type') or ''
    scope = (kind if isinstance(kind, str) else kind.__module__).partition('.')[0]
    return scope if scope in TOOLBOXES else None
