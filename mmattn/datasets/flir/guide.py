from mmattn.datasets.counting import files
from mmattn.datasets.guides import Countable, Guide, converted


def _images(folder: str, number: int, needed: bool = False) -> Countable:
    return Countable(f'{folder} images', number, files(f'{folder}/data/*.jpg'), needed)


GUIDE = Guide(
    title='Teledyne FLIR ADAS v2',
    source='https://www.flir.com/oem/adas/adas-dataset-form/ (after agreeing to its terms)',
    size='about 12 GB',
    root='data/flir',
    tree=(
        'images_thermal_train/coco.json, data/*.jpg',
        'images_thermal_val/coco.json, data/*.jpg',
        'video_thermal_test/, images_rgb_train/, images_rgb_val/, video_rgb_test/ (not needed)',
    ),
    contents=(
        # The release notes say 9,711 for the first two; these are the files' own numbers.
        _images('images_thermal_train', 10_742, needed=True),
        _images('images_thermal_val', 1_144, needed=True),
        Countable('annotations', 2, files('images_thermal_*/coco.json')),
        _images('video_thermal_test', 3_749),
        _images('images_rgb_train', 10_318),
        _images('images_rgb_val', 1_085),
        _images('video_rgb_test', 3_749),
        *converted('thermal_train', 'thermal_val'),
    ),
    prepare='python tools/dataset_converters/flir_to_coco.py DATA_ROOT',
    readers=('FLIR',),
)
