"""Batches of generated images and annotations, as the models of each toolbox take them.

Each function: the model, number of images, their height and width -> images (N, 3, H, W) and
data samples.
"""

import torch
from mmengine.structures import PixelData
from torch import Tensor, nn

OBJECTS = 8  # of each image, for detectors


def _classified(model: nn.Module, batch_size: int, size: tuple[int, int]) -> tuple[Tensor, list]:
    from mmpretrain.structures import DataSample

    samples = [DataSample().set_gt_label(0) for _ in range(batch_size)]
    return torch.randn(batch_size, 3, *size), samples


def _detected(model: nn.Module, batch_size: int, size: tuple[int, int]) -> tuple[Tensor, list]:
    from mmdet.testing import demo_mm_inputs

    data = demo_mm_inputs(
        batch_size,
        (3, *size),
        num_items=[OBJECTS] * batch_size,
        num_classes=2,
        with_mask=getattr(model, 'with_mask', False),
    )
    # YOLOX's would change the size, now and then.
    model.data_preprocessor.batch_augments = None
    data = model.data_preprocessor(data, training=True)
    for sample in data['data_samples']:
        sample.gt_instances.labels.zero_()  # a class that every detector has
    return data['inputs'], data['data_samples']


def _segmented(model: nn.Module, batch_size: int, size: tuple[int, int]) -> tuple[Tensor, list]:
    from mmseg.structures import SegDataSample

    samples = []
    for _ in range(batch_size):
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
        labels = torch.randint(2, (1, *size))
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return torch.randn(batch_size, 3, *size), samples


# A batch of the toolbox's images and annotations.
GENERATED = {'mmpretrain': _classified, 'mmdet': _detected, 'mmseg': _segmented}
