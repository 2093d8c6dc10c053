"""Backbones and classifiers as ONNX files and torch.export programs.

Height, width and batch stay dynamic. What was written is loaded again and compared with the
model at two sizes, and from 1 x 1 up until it agrees, before it gets its name; the least size is
in the file: ``least_height`` and ``least_width`` of an ONNX file's metadata_props and of a .pt2's
extra files. Swin Transformer computes its window masks in Python, which ties a program to one
size: it is refused by that check. The ONNX exporter of torch 2.1 refuses SCSA and its halves.
"""

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmattn.utils.errors import UserError
from mmattn.utils.files import refuse_existing, write_whole
from mmattn.weights.models import as_tuple, random_images, relative_error

TOLERANCE = 1e-4
FORMATS = {'onnx': '.onnx', 'torch': '.pt2'}
# torch.export has dynamic sizes, and ONNX an exporter on top of it, from here on.
NEW_TORCH = tuple(int(n) for n in torch.__version__.split('.')[:2]) >= (2, 5)
# For the exporter of older versions of torch.
OPSET = 17

Run = Callable[[Tensor], tuple[Tensor, ...]]
Size = tuple[int, int]

# A process of its own: onnxruntime may crash on a graph that does not fit its input.
RUN_ONNX = """
import sys
import numpy, onnxruntime
_, model, image, outputs = sys.argv
try:
    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    numpy.savez(outputs, *session.run(None, {'image': numpy.load(image)}))
except Exception as error:
    sys.exit(print(error) or 1)
"""


class Exported(NamedTuple):
    """What :func:`export` wrote.

    Attributes:
        errors: (height, width) -> largest relative difference from the model.
        least: Smallest (height, width) at which the file was found to agree.
    """

    errors: dict[Size, float]
    least: Size


class Classifier(nn.Module):
    """Normalised images -> logits, without the preprocessing of mmpretrain's classifier."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image, mode='tensor')


class Backbone(nn.Module):
    """Normalised images -> features, one output per entry of ``out_indices``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return as_tuple(self.model(image))


def choose_part(model: nn.Module, part: str) -> nn.Module:
    """The backbone of a model, or the model itself if it is a classifier.

    Raises:
        UserError: If a classifier is asked for and the model is none.
    """
    if part == 'backbone':
        return Backbone(model.backbone).eval()
    if not hasattr(model, 'head') or not hasattr(model, 'extract_feat'):
        raise UserError(
            f'{type(model).__name__} is no classifier of mmpretrain; export its backbone with '
            f'--part backbone.'
        )
    return Classifier(model).eval()


def export(
    module: nn.Module,
    path: Path,
    kind: str,
    size: Size = (224, 224),
    check_size: Size = (256, 315),
    force: bool = False,
) -> Exported:
    """Export a module with dynamic batch, height and width, and check the file.

    Args:
        module: See :func:`choose_part`; (N, 3, H, W) -> tensor or tuple.
        path: The file to write.
        kind: 'onnx' or 'torch'.
        size: (height, width) with which it is traced and checked.
        check_size: A second one with which it is checked.
        force: Overwrite ``path`` if it exists.

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
    bounds = (1, 1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        # The exporters warn of what they themselves do.
        warnings.simplefilter('ignore')
        file = Path(folder) / f'model{FORMATS[kind]}'
        if not NEW_TORCH:
            with _explaining(module, 'torch.onnx'):
                _write_onnx_by_tracing(module, file, size)
        else:
            program = trace(module, size)
            bounds = _bounds(program)
            if kind == 'torch':
                torch.export.save(program, file)
            else:
                outputs = len(as_tuple(module(random_images(2, size))))
                with _explaining(module, 'torch.onnx'):
                    _write_onnx(program, file, outputs)
        run = _run_onnx(file) if kind == 'onnx' else _run_torch(file)
        # Another batch size each time, too.
        errors = {
            each: _check(run, module, random_images(batch, each))
            for batch, each in ((2, size), (1, check_size))
        }
        least = _least(run, module, bounds, size)
        limits = dict(least_height=str(least[0]), least_width=str(least[1]))
        if kind == 'torch':
            torch.export.save(program, file, extra_files=limits)
        else:
            _add_metadata(file, limits)
        write_whole(path, file.read_bytes())
    return Exported(errors, least)


def require_packages(kind: str) -> None:
    """Raise UserError, before any work, if what the format needs is not installed."""
    if kind == 'torch':
        if not NEW_TORCH:
            raise UserError(
                f'torch.export has no dynamic sizes in torch {torch.__version__}; it needs 2.5 or '
                f'newer. --format onnx works here.'
            )
        return
    needed = ['onnx', 'onnxruntime', *(['onnxscript'] if NEW_TORCH else [])]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise UserError(
            f'{" and ".join(missing)} must be installed to write and check ONNX files: '
            f'pip install {" ".join(missing)}'
        )


@contextmanager
def _explaining(module: nn.Module, what: str) -> Iterator[None]:
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


def trace(module: nn.Module, size: Size) -> Any:
    """A torch.export program that accepts any batch, and any size that the module accepts."""
    import torch.fx.experimental._config as symbols

    dynamic = torch.export.Dim.DYNAMIC
    # Without it a dimension that happens to be 1 in the example stays 1.
    general = (
        symbols.patch(backed_size_oblivious=True)
        if hasattr(symbols, 'backed_size_oblivious')
        else nullcontext()
    )
    with general, _explaining(module, 'torch.export'):
        program = torch.export.export(
            module,
            (random_images(2, size),),
            dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},),
            strict=False,
        )
    if hasattr(program, '_guards_code'):
        # Of what was true of the example only the lower bounds matter to the result; parity
        # (seen by max pooling) and numbers of windows do not. The check below stands for it.
        program._guards_code = [
            guard for guard in program._guards_code if ' >= ' in guard and '==' not in guard
        ]
    return program


def _bounds(program: Any) -> Size:
    """Smallest height and width that a program takes; torch.export counts empty images in."""
    shape = next(
        node.meta['val'].shape for node in program.graph.nodes if node.name.endswith('image')
    )
    ranges = [program.range_constraints.get(size.node.expr) for size in shape[2:]]
    return tuple(max(int(each.lower), 1) if each else 1 for each in ranges)


def _least(run: Run, module: nn.Module, bounds: Size, size: Size) -> Size:
    """Smallest of the sizes bounds, 2, 4, 8, ... at which the model and the file work and agree."""
    side = 1
    while side < max(size):
        least = max(bounds[0], min(side, size[0])), max(bounds[1], min(side, size[1]))
        try:
            _check(run, module, random_images(1, least))
            return least
        except Exception:  # the model's own, of any kind, or of the check
            side *= 2
    return size


def _write_onnx(program: Any, file: Path, outputs: int) -> None:
    names = output_names(outputs)
    torch.onnx.export(
        program,
        (),
        str(file),
        dynamo=True,
        input_names=['image'],
        output_names=names,
        external_data=False,
        verbose=False,
    )


def _write_onnx_by_tracing(module: nn.Module, file: Path, size: Size) -> None:
    example = random_images(2, size)
    names = output_names(len(as_tuple(module(example))))
    logits = all(out.dim() == 2 for out in as_tuple(module(example)))
    axes = {0: 'batch'} if logits else {0: 'batch', 2: 'height', 3: 'width'}
    torch.onnx.export(
        module,
        example,
        str(file),
        opset_version=OPSET,
        input_names=['image'],
        output_names=names,
        dynamic_axes={
            'image': {0: 'batch', 2: 'height', 3: 'width'},
            **{
                name: {axis: f'{name}_{label}' if axis else label for axis, label in axes.items()}
                for name in names
            },
        },
    )


def output_names(count: int) -> list[str]:
    return ['output'] if count == 1 else [f'output{index}' for index in range(count)]


def _run_onnx(file: Path) -> Run:
    given, outputs = file.with_name('image.npy'), file.with_name('outputs.npz')

    def run(image: Tensor) -> tuple[Tensor, ...]:
        np.save(given, image.numpy())
        words = [sys.executable, '-c', RUN_ONNX, *map(str, (file, given, outputs))]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            crash = f'onnxruntime crashed with status {done.returncode} {done.stderr.strip()}'
            raise RuntimeError(done.stdout or crash)
        with np.load(outputs) as arrays:
            return tuple(torch.from_numpy(array) for array in arrays.values())

    return run


def _add_metadata(file: Path, entries: dict[str, str]) -> None:
    import onnx

    model = onnx.load(file)
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, file)


def _run_torch(file: Path) -> Run:
    program = torch.export.load(file).module()
    return lambda image: as_tuple(program(image))


def _check(run: Run, module: nn.Module, image: Tensor) -> float:
    size = f'{image.shape[2]} x {image.shape[3]}'
    try:
        actual = run(image)
    except Exception as error:  # of many kinds, from C++ as well
        text = str(error).strip().split('\n')[0]
        raise UserError(
            f'the exported model does not run at {size} ({text}); nothing was written.', exit_code=1
        ) from error
    expected = as_tuple(module(image))
    error = max(relative_error(a, b) for a, b in zip(actual, expected, strict=True))
    if not error < TOLERANCE:
        raise UserError(
            f'the exported model gives other outputs at {size} (relative error {error:.1e}, '
            f'at most {TOLERANCE:.0e} is expected); nothing was written.',
            exit_code=1,
        )
    return error
