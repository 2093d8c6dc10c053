#!/usr/bin/env python
"""Draw what each attention attends to on one real image.

For each registered attention a ResNet-18, cut after its second stage and with the
attention in that stage, learns to tell blood cells from the background (BCCD, the
pixels inside a box take its class). The map is the share of the features' magnitude
that the last attention lets pass, sum_c |y| / sum_c |x|, relative to its mean over the
image: blue is held back, red is emphasised.

    python benchmarks/attention_maps.py --data-root data/bccd --out docs/images/attention_maps.png
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import nn
from torch.nn import functional as F

from mmattn.analysis.attention_maps import attentions, record
from mmattn.analysis.attention_pictures import draw_sheet
from mmattn.attention.names import attention_names
from mmattn.backbones import ResNet
from mmattn.datasets import VOCDataset

CLASSES = ('RBC', 'WBC', 'Platelets')
SIZE = (168, 224)
STRIDE = 8


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--data-root', required=True, help='folder of BCCD (VOC layout)')
    parser.add_argument('--out', required=True, help='picture to write (.png)')
    parser.add_argument('--image', default='BloodImage_00007', help='image of the test split')
    parser.add_argument('--iterations', type=int, default=120, help='training of each attention')
    parser.add_argument('--attentions', nargs='+', default=attention_names())
    return parser.parse_args()


def load(root: str, split: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Image name -> normalised image (3, H, W) and classes at 1/8 of it (H / 8, W / 8)."""
    dataset = VOCDataset(
        data_root=root,
        ann_file=f'ImageSets/Main/{split}.txt',
        data_prefix=dict(sub_data_root=''),
        metainfo=dict(classes=CLASSES),
        pipeline=[],
    )
    samples = {}
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        picture = Image.open(info['img_path']).convert('RGB')
        scale = np.array([SIZE[1] / picture.width, SIZE[0] / picture.height] * 2) / STRIDE
        image = torch.from_numpy(np.array(picture.resize(SIZE[::-1]))).permute(2, 0, 1)
        labels = torch.zeros(SIZE[0] // STRIDE, SIZE[1] // STRIDE, dtype=torch.long)
        # Large boxes first, so that small ones stay on top.
        for box in sorted(info['instances'], key=lambda box: -_area(box['bbox'])):
            left, top, right, bottom = np.round(np.array(box['bbox']) * scale).astype(int)
            labels[top : max(bottom, top + 1), left : max(right, left + 1)] = box['bbox_label'] + 1
        samples[Path(info['img_path']).stem] = ((image - 128.0) / 64.0, labels)
    return samples


def _area(box: list[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def learn(name: str, samples: list, iterations: int) -> tuple[ResNet, nn.Module]:
    """Train a small segmentation net with the attention: backbone and head."""
    torch.manual_seed(0)
    backbone = ResNet(
        depth=18,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(1,),
        attention=dict(type=name, stages=(False, True)),
    )
    head = nn.Conv2d(128, len(CLASSES) + 1, 1)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], 5e-4)
    order = torch.Generator().manual_seed(0)
    for _ in range(iterations):
        chosen = [samples[i] for i in torch.randint(len(samples), (4,), generator=order)]
        images, labels = (torch.stack(part) for part in zip(*chosen, strict=True))
        loss = F.cross_entropy(head(backbone(images)[0]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return backbone.eval(), head


def attention_map(backbone: ResNet, image: torch.Tensor) -> np.ndarray:
    """Share of the magnitude that the last attention passes, relative to its mean."""
    slots = attentions(backbone)
    last = list(slots)[-1]
    (passed,) = record(lambda: backbone(image[None]), {last: slots[last]})
    return passed.relative()


def main() -> None:
    args = parse_args()
    train = list(load(args.data_root, 'trainval').values())
    test = load(args.data_root, 'test')
    if args.image not in test:
        raise SystemExit(f'{args.image!r} is not in the test split; valid: {sorted(test)[:5]} ...')
    image, labels = test[args.image]
    maps = {}
    for name in track(args.attentions, 'training'):
        backbone, head = learn(name, train, args.iterations)
        with torch.no_grad():
            found = head(backbone(image[None])[0]).argmax(1)[0]
        accuracy = (found == labels).float().mean().item()
        print(f'{name:8} pixel accuracy on {args.image}: {accuracy:.3f}', flush=True)
        maps[name] = attention_map(backbone, image)
    picture = (image * 64 + 128).byte().permute(1, 2, 0).numpy()
    draw_sheet(Path(args.out), picture, maps)


if __name__ == '__main__':
    main()
