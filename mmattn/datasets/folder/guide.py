from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide


def _images(split: str) -> Countable:
    patterns = (f'{split}/*/*.{suffix}' for suffix in ('jpg', 'jpeg', 'png', 'bmp', 'tif'))
    return Countable(f'{split} images', None, files(*patterns))


GUIDE = Guide(
    title='your own images, a folder a class',
    source='wherever you have them',
    size='-',
    root='data/folder',
    tree=('train/CLASS/*.jpg (or .png, ...)', 'val/CLASS/*.jpg'),
    contents=(_images('train'), _images('val')),
    readers=('Custom',),
)
