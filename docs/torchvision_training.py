"""Attention in a torchvision network and a training loop of one's own: no config, no toolbox.

python docs/torchvision_training.py DIR     DIR/CLASS/NAME.jpg
"""

import sys

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18

import mmattn


def train(folder: str, epochs: int = 10, size: int = 224) -> tuple[torch.nn.Module, list[float]]:
    """Train on a folder of images; return the network and each epoch's mean loss in nats."""
    crop = transforms.RandomResizedCrop(size, scale=(0.5, 1.0))
    data = ImageFolder(folder, transforms.Compose([crop, transforms.ToTensor()]))
    loader = DataLoader(data, batch_size=32, shuffle=True)
    model = resnet18(num_classes=len(data.classes))
    mmattn.insert_attention(model, dict(type='ECA', at='layer*.*.bn2'))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for images, labels in loader:
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        losses.append(total / len(data))
        print(f'epoch {len(losses)}: loss {losses[-1]:.3f}')
    return model, losses


if __name__ == '__main__':
    train(sys.argv[1])
