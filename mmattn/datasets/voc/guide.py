from mmattn.datasets.counting import Count, files, listed, total
from mmattn.datasets.guides import Countable, Guide


def in_list(split: str, tree: str = '') -> Count:
    """The images of a split that are there."""
    return listed(f'{tree}ImageSets/Main/{split}.txt', f'{tree}JPEGImages/{{}}.jpg')


TRAINVAL = total(in_list('trainval', 'VOC2007/'), in_list('trainval', 'VOC2012/'))

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
        Countable('trainval images (2007 and 2012)', 16_551, TRAINVAL),
        Countable('test images (2007)', 4_952, in_list('test', 'VOC2007/')),
        # Of 2012 also those of the segmentation and person layout tasks.
        Countable('annotations', 9_963 + 17_125, files('VOC20*/Annotations/*.xml')),
    ),
    readers=('VOC', 'XML'),
)
