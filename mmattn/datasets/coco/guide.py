from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide

GUIDE = Guide(
    title='COCO 2017',
    source='https://cocodataset.org/#download (train2017, val2017, annotations)',
    size='19 GB',
    root='data/coco',
    tree=(
        'annotations/instances_train2017.json, instances_val2017.json',
        'train2017/*.jpg',
        'val2017/*.jpg',
    ),
    contents=(
        Countable('training images', 118_287, files('train2017/*.jpg')),
        Countable('validation images', 5_000, files('val2017/*.jpg')),
        Countable('annotations', 2, files('annotations/instances_*2017.json')),
    ),
    readers=('Coco',),
)
