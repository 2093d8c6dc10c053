from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide

GUIDE = Guide(
    title='ADE20K (ADEChallengeData2016)',
    source='http://sceneparsing.csail.mit.edu',
    size='0.9 GB',
    root='data/ade/ADEChallengeData2016',
    tree=(
        'images/training/*.jpg, images/validation/*.jpg',
        'annotations/training/*.png, annotations/validation/*.png',
    ),
    contents=(
        Countable('training images', 20_210, files('images/training/*.jpg')),
        Countable('training annotations', 20_210, files('annotations/training/*.png')),
        Countable('validation images', 2_000, files('images/validation/*.jpg')),
        Countable('validation annotations', 2_000, files('annotations/validation/*.png')),
    ),
    readers=('ADE20K',),
)
