from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide

GUIDE = Guide(
    title='DRIVE, vessels of the retina',
    source='https://drive.grand-challenge.org after signing up (training.zip, test.zip)',
    size='30 MB',
    root='data/DRIVE',
    tree=(
        'images/training/21.png, ... images/validation/01.png, ...',
        'annotations/training/21_manual1.png, ... annotations/validation/01_manual1.png, ... '
        '(0 background, 1 vessel)',
    ),
    contents=(
        Countable('training images', 20, files('images/training/*.png')),
        Countable('training annotations', 20, files('annotations/training/*_manual1.png')),
        Countable('validation images', 20, files('images/validation/*.png')),
        Countable('validation annotations', 20, files('annotations/validation/*_manual1.png')),
    ),
    prepare="mmsegmentation's tools/dataset_converters/drive.py training.zip test.zip -o DATA_ROOT",
    readers=('DRIVE',),
)
