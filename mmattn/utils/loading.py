"""mmengine's loading of checkpoints, without running the code in them.

Whatever loads through mmengine (``load_from``, ``--resume``, ``init_cfg``, the toolboxes'
inferencers; files, URLs, ``torchvision://`` and the like) ends in the ``torch.load`` and the
``load_url`` that mmengine's module of checkpoints knows. Importing this module replaces these
two names there, and nowhere else: torch's own functions stay what they are.
"""

from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmattn.utils.checkpoints import is_trusting, read_stream
from mmattn.utils.errors import UserError
from mmattn.utils.plain_data import check_parts


def load(file: str | Path | BinaryIO, map_location: Any = None, **_: Any) -> Any:
    """What mmengine gets for ``torch.load``: tensors and plain data.

    Its own options, of how much of a pickle is run, are no longer asked.

    Raises:
        UserError: If the file is damaged, no checkpoint, or wants code to be run.
    """
    if isinstance(file, (str, Path)):
        with open(file, 'rb') as stream:
            return _load(stream, str(file), map_location)
    return _load(file, getattr(file, 'name', 'the checkpoint'), map_location)


def _load(stream: BinaryIO, name: str, location: Any) -> Any:
    data = read_stream(stream, name, location)
    if is_trusting():
        return data
    try:
        check_parts(data)
    except UserError as error:
        raise UserError(f'{name} is no checkpoint of mmengine: it {error}.') from error
    meta = data.get('meta', {})
    if 'config' in meta:
        # mmcv's; mmengine runs it to look up gpu_ids when it resumes.
        data['meta'] = {key: value for key, value in meta.items() if key != 'config'}
        print_log(f"{name}: the config in its meta['config'] is left out.", logger='current')
    return data


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, **options) -> Any:
    """Download a checkpoint, unless it has been, to where torch.hub keeps them, and load it."""
    folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
    path = folder / (Path(urlparse(url).path).name or 'checkpoint')
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=options.get('progress', True))
    return load(path, map_location)


class _Torch(ModuleType):
    """torch with another ``load``."""

    load = staticmethod(load)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


mmengine_checkpoint.torch = _Torch('torch')
mmengine_checkpoint.load_url = load_url
