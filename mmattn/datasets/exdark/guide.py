from mmattn.datasets.counting import files, lines
from mmattn.datasets.guides import Countable, Guide, converted

GUIDE = Guide(
    title='ExDark (Exclusively Dark)',
    source='https://github.com/cs-chan/Exclusively-Dark-Image-Dataset (images from its '
    'Dataset page, annotations and list from its Groundtruth page; not for commercial use)',
    size='1.5 GB',
    root='data/exdark',
    tree=(
        'ExDark/Bicycle/*, ... (12 folders, .jpg .JPG .jpeg .JPEG .png)',
        'ExDark_Annno/Bicycle/*.txt, ...',
        'imageclasslist.txt',
    ),
    contents=(
        Countable('images', 7_363, files('ExDark/*/*.jp*g', 'ExDark/*/*.png')),
        Countable('annotations', 7_363, files('ExDark_Annno/*/*.txt')),
        Countable('listed for training', 3_000, lines('imageclasslist.txt', ' 1')),
        Countable('listed for validation', 1_800, lines('imageclasslist.txt', ' 2')),
        Countable('listed for testing', 2_563, lines('imageclasslist.txt', ' 3')),
        *converted('train', 'val', 'test'),
    ),
    prepare='python tools/dataset_converters/exdark_to_coco.py DATA_ROOT',
    readers=('ExDark',),
)
