"""Class activation maps of one layer: from its activations and a score's gradients to a map."""

from collections.abc import Callable

import torch
from torch import Tensor

Method = Callable[[Tensor, Tensor], Tensor]


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017, arXiv:1610.02391): channels weighted by mean gradient.

    Args:
        activations: A layer's output for one image, (C, H, W).
        gradients: Of the score with respect to it, the same shape.

    Returns:
        What speaks for the score, (H, W), at least 0.
    """
    return torch.einsum('c,chw->hw', gradients.mean((1, 2)), activations).relu()


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++ (Chattopadhay et al., WACV 2018, arXiv:1710.11063).

    The weight of a channel is the sum of its positive gradients, each weighted by how much it
    alone explains the score (the paper's alpha, with the exponential of the score as its Y):
    several objects of a class count alike. Arguments and result as of :func:`grad_cam`.
    """
    squares = gradients.square()
    spread = 2 * squares + activations.sum((1, 2), keepdim=True) * squares * gradients
    alpha = torch.where(spread == 0, 0.0, squares / spread.where(spread != 0, 1.0))
    weights = (alpha * gradients.relu()).sum((1, 2))
    return torch.einsum('c,chw->hw', weights, activations).relu()


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """HiResCAM (Draelos and Carin, arXiv:2011.08891): each position by its own gradient.

    Where a score depends on few positions, as a detection's does, the mean gradient of the others
    says nothing about them. With a pooled linear head it is Grad-CAM. Arguments and result as of
    :func:`grad_cam`.
    """
    return (gradients * activations).sum(0).relu()


def eigen_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Eigen-CAM (Muhammad and Yeasin, IJCNN 2020, arXiv:2008.00299): no class, no gradients.

    The activations, (H W, C), are projected onto their first right singular vector. It has no
    sign; that is taken with which the map correlates with the mean over the channels, and what
    is then negative is 0. Arguments and result as of :func:`grad_cam`.
    """
    rows = activations.flatten(1).T.double()
    # The eigenvectors of the smaller of the two products are much quicker than the SVD.
    if rows.shape[0] < rows.shape[1]:
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        projected = vectors[:, -1] * values[-1].clamp(min=0).sqrt()
    else:
        projected = rows @ torch.linalg.eigh(rows.T @ rows)[1][:, -1]
    mean = rows.mean(1)
    agreement = (projected - projected.mean()) @ (mean - mean.mean())
    signed = -projected if agreement < 0 else projected
    return signed.relu().to(activations.dtype).view(activations.shape[1:])


METHODS: dict[str, Method] = {
    'grad_cam': grad_cam,
    'grad_cam++': grad_cam_plus_plus,
    'hires_cam': hires_cam,
    'eigen_cam': eigen_cam,
}
