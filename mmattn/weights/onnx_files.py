"""Writing ONNX files, and running them in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# For the exporter of torch before 2.5.
OPSET = 17
# What is dynamic of images (N, 3, H, W).
AXES = {0: 'batch', 2: 'height', 3: 'width'}

# onnxruntime may end the process on an image that is too small for the graph.
RUN = """
import sys
import numpy, onnxruntime
_, model, image, outputs = sys.argv
try:
    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    numpy.savez(outputs, *session.run(None, {'image': numpy.load(image)}))
except Exception as error:
    sys.exit(print(error) or 1)
"""


def write(network: Any, file: Path, example: Tensor, outputs: tuple[Tensor, ...]) -> None:
    """Write a network with dynamic batch, height and width.

    Args:
        network: A torch.export program that has them; a module for torch before 2.5.
        example: Images (N, 3, H, W).
        outputs: What the network makes of them, features (N, C, H, W) or logits (N, C).
    """
    count = len(outputs)
    names = ['output'] if count == 1 else [f'output{index}' for index in range(count)]
    options: dict[str, Any] = dict(input_names=['image'], output_names=names)
    if isinstance(network, torch.nn.Module):
        axes = {'image': AXES}
        for name, out in zip(names, outputs, strict=True):
            sizes = {axis: f'{name}_{AXES[axis]}' for axis in range(2, out.dim())}
            axes[name] = {0: 'batch', **sizes}
        options.update(opset_version=OPSET, dynamic_axes=axes)
    else:
        options.update(dynamo=True, external_data=False, verbose=False)
    torch.onnx.export(network, (example,), str(file), **options)


def runner(file: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """A function that runs an ONNX file; it leaves its own files beside it.

    Raises:
        RuntimeError: In that function, if onnxruntime reports an error or crashes.
    """
    given, outputs = file.with_name('image.npy'), file.with_name('outputs.npz')

    def run(image: Tensor) -> tuple[Tensor, ...]:
        np.save(given, image.numpy())
        words = [sys.executable, '-c', RUN, *map(str, (file, given, outputs))]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            crash = f'onnxruntime crashed with status {done.returncode} {done.stderr.strip()}'
            raise RuntimeError(done.stdout or crash)
        with np.load(outputs) as arrays:
            return tuple(torch.from_numpy(array) for array in arrays.values())

    return run


def finish(file: Path, metadata: dict[str, str]) -> None:
    """Add to the ``metadata_props`` of an ONNX file, and give its dynamic sizes names to read."""
    import onnx

    model = onnx.load(file)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    graph = model.graph
    image = graph.input[0].type.tensor_type.shape.dim
    names = {image[axis].dim_param: name for axis, name in AXES.items()}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:  # 's6', or an expression such as '((s6 + 1)//2)'
                size.dim_param = re.sub(r'\w+', lambda it: names.get(it[0], it[0]), size.dim_param)
    onnx.save(model, file)
