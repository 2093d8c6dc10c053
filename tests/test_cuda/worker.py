"""One of two processes of test_attentions.py: a step of SCSA in DDP; writes its gradients.

python worker.py DEVICE RANK FOLDER
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from mmattn.attention import SCSA


def main() -> None:
    device, rank, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    dist.init_process_group(
        'gloo', init_method=(folder / 'store').as_uri(), rank=rank, world_size=2
    )
    torch.manual_seed(0)
    module, x = SCSA(32).to(device), torch.randn(4, 32, 14, 14).to(device)
    wrapped = DistributedDataParallel(module)
    wrapped(x[2 * rank : 2 * rank + 2]).square().mean().backward()
    gradients = [parameter.grad.cpu() for parameter in module.parameters()]
    torch.save(gradients, folder / f'{rank}.pth')
    dist.destroy_process_group()


if __name__ == '__main__':
    main()
