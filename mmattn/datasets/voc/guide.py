"""Pascal VOC 2007 and 2012: where to get them, and what to count."""

from mmattn.datasets.counting import files, listed, total
from mmattn.datasets.guides import Countable, Guide

GUIDE = Guide(
    title='Pascal VOC 2007 and 2012',
    source='http://host.robots.ox.ac.uk/pascal/VOC (trainval and test of 2007, trainval of '
    '2012); your own VOC-style data has these three folders in DATA_ROOT itself',
    size='2.9 GB',
    root='data/VOCdevkit',
    tree=(
        'VOC2007/Annotations/*.xml, VOC2012/Annotations/*.xml',
        'VOC2007/ImageSets/Main/trainval.txt, test.txt, VOC2012/ImageSets/Main/trainval.txt '
        '(one name a line, without extension)',
        'VOC2007/JPEGImages/*.jpg, VOC2012/JPEGImages/*.jpg',
    ),
    contents=(
        Countable(
            'trainval images (2007 and 2012)',
            16_551,
            total(
                listed('VOC2007/ImageSets/Main/trainval.txt', 'VOC2007/JPEGImages/{}.jpg'),
                listed('VOC2012/ImageSets/Main/trainval.txt', 'VOC2012/JPEGImages/{}.jpg'),
            ),
        ),
        Countable(
            'test images (2007)',
            4_952,
            listed('VOC2007/ImageSets/Main/test.txt', 'VOC2007/JPEGImages/{}.jpg'),
        ),
        # Of 2012 also those of the segmentation and person layout tasks.
        Countable('annotations', 9_963 + 17_125, files('VOC20*/Annotations/*.xml')),
    ),
    readers=('VOC', 'XML'),
)
