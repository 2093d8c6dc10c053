"""Grid means equal torch's adaptive pooling."""

import pytest
import torch
from torch.nn import functional as F

from mmattn.attention.pooling import grid_means

FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize('format', FORMATS, ids=str)
@pytest.mark.parametrize('cells', [1, 2, 4, 7, 14])
@pytest.mark.parametrize('size', [(1, 1), (3, 5), (7, 7), (14, 9), (50, 38)])
def test_equals_adaptive_pooling(size, cells, format):
    """As one product, and where that would be too large as two."""
    x = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=format)
    torch.testing.assert_close(grid_means(x, cells)[0], F.adaptive_avg_pool2d(x, cells))


@pytest.mark.parametrize('format', FORMATS, ids=str)
def test_grids_in_one_read(format):
    """Also where inference came first."""
    x = torch.randn(2, 3, 9, 11, dtype=torch.float64).to(memory_format=format)
    with torch.inference_mode():
        grid_means(x, 1, 2, 4)
    x.requires_grad_()
    means = grid_means(x, 1, 2, 4)
    for grid, mean in zip((1, 2, 4), means, strict=True):
        torch.testing.assert_close(mean, F.adaptive_avg_pool2d(x, grid))
    assert torch.autograd.gradcheck(lambda x: grid_means(x, 2, 4), x)
