from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide

GUIDE = Guide(
    title='ImageNet-1K (ILSVRC2012)',
    source='https://image-net.org/download after signing up',
    size='144 GB',
    root='data/imagenet',
    tree=(
        'train/n01440764/*.JPEG, ... (one folder a class)',
        'val/n01440764/*.JPEG, ... (or val/*.JPEG with meta/val.txt)',
    ),
    contents=(
        Countable('training images', 1_281_167, files('train/*/*.jpeg')),
        Countable('validation images', 50_000, files('val/*/*.jpeg', 'val/*.jpeg')),
    ),
    readers=('ImageNet',),
)
