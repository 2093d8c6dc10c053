from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide
from mmattn.datasets.voc.guide import in_list

GUIDE = Guide(
    title='BCCD, blood cells',
    source='https://github.com/Shenggan/BCCD_Dataset (its folder BCCD; MIT licence)',
    size='10 MB',
    root='data/bccd',
    tree=('Annotations/*.xml', 'ImageSets/Main/trainval.txt, test.txt', 'JPEGImages/*.jpg'),
    contents=(
        Countable('trainval images', 292, in_list('trainval')),
        Countable('test images', 72, in_list('test')),
        Countable('annotations', 364, files('Annotations/*.xml')),
    ),
)
