"""Fixtures of the attentions' tests."""

import pytest
import torch

from mmattn import kernels
from mmattn.kernels import choice


@pytest.fixture(params=choice.MODES)
def mode(request):
    """With the kernels, and in pure PyTorch."""
    if request.param == 'auto' and choice.implementation(torch.empty(0)) == choice.PURE:
        pytest.skip(f'pure PyTorch alone runs here: {choice.why_no_cpp()}')
    with kernels.using(request.param):
        yield request.param
