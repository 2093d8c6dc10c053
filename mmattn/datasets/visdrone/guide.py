from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide, converted


def _split(split: str, number: int, needed: bool = True) -> tuple[Countable, ...]:
    folder = f'VisDrone2019-DET-{split}'
    return (
        Countable(f'{split} images', number, files(f'{folder}/images/*.jpg'), needed),
        Countable(f'{split} annotations', number, files(f'{folder}/annotations/*.txt'), needed),
    )


GUIDE = Guide(
    title='VisDrone2019-DET',
    source='https://github.com/VisDrone/VisDrone-Dataset (task 1: object detection in images)',
    size='1.5 GB, with test-dev 1.8 GB',
    root='data/visdrone',
    tree=(
        'VisDrone2019-DET-train/images/*.jpg, annotations/*.txt',
        'VisDrone2019-DET-val/images/*.jpg, annotations/*.txt',
        'VisDrone2019-DET-test-dev/... (not needed)',
    ),
    contents=(
        *_split('train', 6_471),
        *_split('val', 548),
        *_split('test-dev', 1_610, needed=False),
        *converted('train', 'val'),
    ),
    prepare='python tools/dataset_converters/visdrone_to_coco.py DATA_ROOT',
    readers=('VisDrone',),
)
