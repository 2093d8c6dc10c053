"""What an older torch has not got."""

import torch

# torch 2.1 has no dynamic sizes in torch.export, no exporter to ONNX on top of it, and no
# float16 layers on a CPU.
NEW_TORCH = tuple(int(n) for n in torch.__version__.split('.')[:2]) >= (2, 5)
