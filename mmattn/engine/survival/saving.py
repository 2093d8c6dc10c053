"""Writing a checkpoint: whole, on the disk, read again; what is refused is refused everywhere."""

from collections.abc import Callable
from functools import partial
from typing import Any

from mmengine.fileio import FileClient, get_file_backend, register_backend
from mmengine.fileio.backends import LocalBackend

from mmattn.engine.distributed import on_first
from mmattn.utils.errors import UserError
from mmattn.utils.files import holds, whole

# Its name among mmengine's file backends.
BACKEND = 'mmattn_whole'


class SaveFailed(UserError):
    """The disk refused a checkpoint; what stood before stands."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=1)


class Unsaved(SaveFailed):
    """A training came to its end, but its last checkpoint could not be written."""


@register_backend(BACKEND)
class WholeFiles(LocalBackend):
    """Local files that have their names once they are complete, on the disk, and read again."""

    def put(self, obj: bytes, filepath: str) -> None:
        """Write a file.

        Raises:
            SaveFailed: If it cannot be written, or reads differently.
        """
        try:
            with whole(filepath) as part:
                part.write_bytes(obj)
                if not holds(part, obj):
                    raise OSError('it reads differently from what was written')
        except OSError as error:
            size = f'{len(obj) / 1e6:.1f} MB'
            raise SaveFailed(
                f'{filepath} ({size}) could not be written: {error.strerror or error}.'
            ) from error


def save_whole(
    save: Callable[..., None],
    out_dir: str,
    filename: str,
    file_client_args: dict | None = None,
    *args: Any,
    backend_args: dict | None = None,
    **options: Any,
) -> None:
    """Call mmengine's ``Runner.save_checkpoint`` so that a local file is written whole.

    Every process calls it, and the first one saves.

    Raises:
        SaveFailed: In every process, if the disk refuses it.
    """
    target = dict(file_client_args=file_client_args, backend_args=backend_args)
    if is_local(out_dir, **target):
        target = dict(file_client_args=None, backend_args=dict(backend=BACKEND))
    names = ('save_optimizer', 'save_param_scheduler', 'meta', 'by_epoch')
    options.update(zip(names, args, strict=False))
    on_disk(partial(save, out_dir, filename, **target, **options))


def on_disk(save: Callable[[], None]) -> None:
    """Save in the first process; if the disk refuses it, every process raises SaveFailed."""

    def attempt() -> str:
        try:
            save()
        except SaveFailed as error:
            return str(error)
        return ''

    refused = on_first(attempt)
    if refused:
        raise SaveFailed(refused)


def is_local(out_dir: str, file_client_args: dict | None, backend_args: dict | None) -> bool:
    """Whether mmengine would write to a folder of this machine, not to a storage service."""
    if file_client_args is not None:
        return isinstance(FileClient.infer_client(file_client_args, out_dir).client, LocalBackend)
    return isinstance(get_file_backend(out_dir, backend_args=backend_args), LocalBackend)
