"""Backbones and classifiers as ONNX files and torch.export programs.

Height, width and batch stay dynamic. What was written is loaded again and compared with the
model at two sizes, and from 1 x 1 up until it agrees, before it gets its name; the least size is
in the file: ``least_height`` and ``least_width`` of an ONNX file's metadata_props and of a .pt2's
extra files. Swin Transformer computes its window masks in Python, which ties a program to one
size: it is refused by that check. The ONNX exporter of torch 2.1 refuses SCSA and its halves.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmattn.utils.errors import UserError
from mmattn.utils.files import refuse_existing, write_whole
from mmattn.utils.torch_version import NEW_TORCH
from mmattn.weights import onnx_files
from mmattn.weights.models import as_tuple, random_images, relative_error

TOLERANCE = 1e-4
FORMATS = {'onnx': '.onnx', 'torch': '.pt2'}

# Least side of the image that a program is made of. A map that is a single window, or a single
# place, is taken for one whose size is 1 for ever; 512 leaves 16 x 16 behind a stride of 32.
LARGE = 512

Run = Callable[[Tensor], tuple[Tensor, ...]]
Size = tuple[int, int]


class Exported(NamedTuple):
    """What :func:`export` wrote."""

    errors: dict[Size, float]  # (height, width) -> largest relative difference from the model
    least: Size  # smallest (height, width) at which the file was found to agree


class Network(nn.Module):
    """Normalised images -> a tuple: the features of ``out_indices``, or a classifier's logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return as_tuple(self.model(image))


def choose_part(model: nn.Module, part: str) -> Network:
    """The backbone of a model, or the model itself; UserError if it is no classifier then."""
    if part == 'backbone':
        return Network(model.backbone).eval()
    if hasattr(model, 'head') and hasattr(model, 'extract_feat'):
        return Network(model).eval()
    raise UserError(
        f'{type(model).__name__} is no classifier of mmpretrain; export its backbone with '
        f'--part backbone.'
    )


def export(
    module: Network,
    path: Path,
    kind: str,
    size: Size = (224, 224),
    check_size: Size = (450, 230),
    force: bool = False,
) -> Exported:
    """Export a module with dynamic batch, height and width, and check the file.

    Args:
        module: What :func:`choose_part` returns.
        kind: 'onnx' or 'torch'.
        size: (height, width) with which it is checked; it is traced with a larger one, unless the
            network takes none.
        check_size: A second one with which it is checked.

    Raises:
        UserError: If a package is missing, the model cannot be exported with dynamic sizes,
            or the file gives other outputs than the model.
    """
    if kind not in FORMATS:
        raise UserError(f'unknown format {kind!r}; valid: {", ".join(FORMATS)}.')
    refuse_existing(path, force)
    require_packages(kind)
    # Old exporters put the module back into the mode it came in.
    module.eval()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        # The exporters warn of what they themselves do.
        warnings.simplefilter('ignore')
        file = Path(folder) / f'model{FORMATS[kind]}'
        example = random_images(2, size)
        program = _program(module, size) if NEW_TORCH else None
        if kind == 'torch':
            torch.export.save(program, file)
            run = torch.export.load(file).module()
        else:
            with _explaining(module, 'torch.onnx'):
                onnx_files.write(program or module, file, example, module(example))
            run = onnx_files.runner(file)
        # Another batch size each time, too.
        images = [random_images(2, size), random_images(1, check_size)]
        errors = {tuple(image.shape[2:]): _check(run, module, image) for image in images}
        least = _least(run, module, _bounds(program) if program else (1, 1), size)
        limits = dict(least_height=str(least[0]), least_width=str(least[1]))
        if kind == 'torch':
            torch.export.save(program, file, extra_files=limits)
        else:
            onnx_files.finish(file, limits)
        write_whole(path, file.read_bytes())
    return Exported(errors, least)


def require_packages(kind: str) -> None:
    """Raise UserError, before any work, if what the format needs is not installed."""
    if kind == 'torch' and not NEW_TORCH:
        raise UserError(
            f'torch.export has no dynamic sizes in torch {torch.__version__}; it needs 2.5 or '
            f'newer. --format onnx works here.'
        )
    needed = ['onnx', 'onnxruntime', *(['onnxscript'] if NEW_TORCH else [])]
    missing = [name for name in needed if find_spec(name) is None]
    if missing and kind == 'onnx':
        raise UserError(
            f'{" and ".join(missing)} must be installed to write and check ONNX files: '
            f'pip install {" ".join(missing)}'
        )


@contextmanager
def _explaining(module: Network, what: str) -> Iterator[None]:
    """Turn an exporter's error, of whatever kind, into one for the user."""
    try:
        yield
    except Exception as error:
        # The exporters explain themselves at length, the cause is at the end of the chain.
        while error.__cause__ is not None:
            error = error.__cause__
        text = ' '.join(str(error).split())[:200]
        raise UserError(
            f'{what} cannot export {type(module.model).__name__} with dynamic height and width: '
            f'{type(error).__name__}: {text}',
            exit_code=1,
        ) from error


def _program(module: Network, size: Size) -> Any:
    """What :func:`trace` makes of a large image; of ``size`` where the network takes none."""
    large = tuple(max(side, LARGE) for side in size)
    try:
        return trace(module, random_images(2, large))
    except UserError:
        return trace(module, random_images(2, size))


def trace(module: Network, example: Tensor) -> Any:
    """A torch.export program of (N, 3, H, W) that takes any N, H and W which the module takes."""
    import torch.fx.experimental._config as symbols

    shapes = (dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),)
    # Without it a dimension that happens to be 1 in the example stays 1.
    known = hasattr(symbols, 'backed_size_oblivious')
    general = symbols.patch(backed_size_oblivious=True) if known else nullcontext()
    with general, _explaining(module, 'torch.export'):
        program = torch.export.export(module, (example,), dynamic_shapes=shapes, strict=False)
    if hasattr(program, '_guards_code'):
        # Of what was true of the example only the lower bounds matter to the result; parity
        # (seen by max pooling) and numbers of windows do not. The check below stands for it.
        program._guards_code = [
            guard for guard in program._guards_code if ' >= ' in guard and '==' not in guard
        ]
    return program


def _bounds(program: Any) -> Size:
    """Smallest height and width that a program takes; torch.export counts empty images in."""
    image = next(node for node in program.graph.nodes if node.name.endswith('image'))
    sizes = image.meta['val'].shape[2:]
    ranges = [program.range_constraints.get(size.node.expr) for size in sizes]
    return tuple(max(int(each.lower), 1) if each else 1 for each in ranges)


def _least(run: Run, module: Network, bounds: Size, size: Size) -> Size:
    """Smallest of the sizes bounds, 2, 4, 8, ... at which the model and the file work and agree."""
    side = 1
    while side < max(size):
        least = tuple(max(bound, min(side, most)) for bound, most in zip(bounds, size, strict=True))
        try:
            _check(run, module, random_images(1, least))
            return least
        except Exception:  # the model's own, of any kind, or of the check
            side *= 2
    return size


def _check(run: Run, module: Network, image: Tensor) -> float:
    size = f'{image.shape[2]} x {image.shape[3]}'
    try:
        actual = run(image)
    except Exception as error:  # of many kinds, from C++ as well
        text = str(error).strip().split('\n')[0]
        message = f'the exported model does not run at {size} ({text}); nothing was written.'
        raise UserError(message, exit_code=1) from error
    error = max(relative_error(a, b) for a, b in zip(actual, module(image), strict=True))
    if not error < TOLERANCE:
        raise UserError(
            f'the exported model gives other outputs at {size} (relative error {error:.1e}, '
            f'at most {TOLERANCE:.0e} is expected); nothing was written.',
            exit_code=1,
        )
    return error
