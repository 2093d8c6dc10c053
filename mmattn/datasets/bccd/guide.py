"""BCCD: where to get it, and what to count."""

from mmattn.datasets.counting import files, listed
from mmattn.datasets.guides import Countable, Guide

GUIDE = Guide(
    title='BCCD, blood cells',
    source='https://github.com/Shenggan/BCCD_Dataset (its folder BCCD; MIT licence)',
    size='10 MB',
    root='data/bccd',
    tree=(
        'Annotations/*.xml',
        'ImageSets/Main/trainval.txt, test.txt',
        'JPEGImages/*.jpg',
    ),
    contents=(
        Countable(
            'trainval images', 292, listed('ImageSets/Main/trainval.txt', 'JPEGImages/{}.jpg')
        ),
        Countable('test images', 72, listed('ImageSets/Main/test.txt', 'JPEGImages/{}.jpg')),
        Countable('annotations', 364, files('Annotations/*.xml')),
    ),
)
