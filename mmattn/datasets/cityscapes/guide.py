from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide

GUIDE = Guide(
    title='Cityscapes, street scenes (2048 x 1024, 19 classes)',
    source='https://www.cityscapes-dataset.com after signing up (leftImg8bit_trainvaltest.zip, '
    'gtFine_trainvaltest.zip)',
    size='11.3 GB',
    root='data/cityscapes',
    tree=(
        'leftImg8bit/train/CITY/*_leftImg8bit.png, leftImg8bit/val/...',
        'gtFine/train/CITY/*_gtFine_labelTrainIds.png, gtFine/val/...',
    ),
    contents=(
        Countable('training images', 2_975, files('leftImg8bit/train/*/*_leftimg8bit.png')),
        Countable('training annotations', 2_975, files('gtFine/train/*/*_labeltrainids.png')),
        Countable('validation images', 500, files('leftImg8bit/val/*/*_leftimg8bit.png')),
        Countable('validation annotations', 500, files('gtFine/val/*/*_labeltrainids.png')),
    ),
    # Of the package cityscapesscripts.
    prepare='CITYSCAPES_DATASET=DATA_ROOT csCreateTrainIdLabelImgs',
    readers=('Cityscapes',),
)
