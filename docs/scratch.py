"""A folder for a tutorial to run in: it looks like a checkout, and goes when the tutorial ends.

The first cell of each tutorial, which readers do not see, is `%run ../scratch.py`, and makes the
data after it: real data from shared/data beside the checkout where that is there, else generated.

    python docs/scratch.py compare      makes that tutorial's data in data/, to follow it
"""

import argparse
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINKED = ('benchmarks', 'configs', 'docs', 'tools')


def enter() -> Path:
    """Make the folder, and change into it; `python` in it is the one that runs this."""
    folder = Path(tempfile.mkdtemp(prefix='mmattn_', dir=os.environ.get('MMATTN_SCRATCH')))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    (folder / 'data').mkdir()
    os.chdir(folder)
    os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    # What is printed is as wide as the page, and warnings of the toolboxes are not the topic.
    os.environ.update(COLUMNS='84', PYTHONWARNINGS='ignore')
    os.environ.setdefault('OMP_NUM_THREADS', '2')
    # Jupyter sets it, and a pipe passes for a terminal then.
    os.environ.pop('FORCE_COLOR', None)
    return folder


def run_as_script() -> None:
    """`!` and `%%bash` print what a file would get, whole; a command that fails ends the page."""
    from IPython import get_ipython

    def run(command: str) -> None:
        done = subprocess.run(
            ['bash', '-o', 'pipefail', '-c', command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(done.stdout, end='')
        if done.returncode:
            raise RuntimeError(f'exit status {done.returncode}: {command}')

    shell = get_ipython()
    shell.system = lambda command: run(shell.var_expand(command, depth=1))
    shell.register_magic_function(lambda _, cell: run(cell), 'cell', 'bash')


def real_data(name: str) -> Path | None:
    """shared/data/NAME beside the checkout; None where it is not there."""
    path = ROOT.parent / 'shared' / 'data' / name
    return path if path.exists() else None


# Shapes and colours of mmattn.datasets.scenes, in its order.
SHAPES = 'red_disc', 'green_square', 'blue_triangle', 'yellow_star', 'pink_cross', 'cyan_arrow'


def generated_folder(root: str, train: int, val: int, names: tuple[str, ...] = SHAPES) -> None:
    """Classes of drawn pictures of 64 x 64, as ROOT/train/CLASS/NAME.jpg and ROOT/val/..."""
    from mmattn.datasets.demos import DemoSplit, save_image
    from mmattn.datasets.scenes import SceneStyle

    style = SceneStyle(len(names), count=(1, 1), extent=(0.3, 0.85))
    for split, images in dict(train=train, val=val).items():
        demo = DemoSplit(split, images, (64, 64), style, 0, lambda: None)
        for index, scene in enumerate(demo.scenes(cycle=True)):
            save_image(scene, Path(root, split, names[index % len(names)], f'{index:04d}.jpg'))


def some_of_cifar10(archive: Path, root: str, names: tuple[str, ...], each: dict[str, int]) -> None:
    """The first pictures of some classes, as ROOT/train/CLASS/NAME.jpg and ROOT/val/..."""
    import tarfile

    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile():
                continue
            split, name, file = Path(member.name).parts
            split = dict(train='train', test='val')[split]
            if name in names and int(Path(file).stem) < each[split]:
                target = Path(root, split, name, file)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())


def generated_coco(root: str, train: int, val: int, size: tuple[int, int]) -> None:
    """Drawn pictures in COCO's layout below ROOT, with COCO's 80 classes, of which three occur."""
    from types import SimpleNamespace

    from mmdet.datasets import CocoDataset

    from mmattn.datasets.coco.demo import write
    from mmattn.datasets.demos import DemoSplit
    from mmattn.datasets.scenes import SceneStyle

    for split, images in dict(train2017=train, val2017=val).items():
        dataset = SimpleNamespace(
            metainfo=CocoDataset.METAINFO,
            data_prefix=dict(img=f'{root}/{split}'),
            ann_file=f'{root}/annotations/instances_{split}.json',
        )
        style = SceneStyle(categories=3, extent=(0.25, 0.55))
        write(dataset, DemoSplit(split, images, size, style, 0, lambda: None))


def generated_voc(root: str, classes: tuple[str, ...], splits: dict[str, int]) -> None:
    """Drawn pictures of 320 x 240 in VOC's layout below ROOT; splits name their numbers."""
    from types import SimpleNamespace

    from mmattn.datasets.demos import DemoSplit
    from mmattn.datasets.scenes import SceneStyle
    from mmattn.datasets.voc.demo import write

    for split, images in splits.items():
        dataset = SimpleNamespace(
            metainfo=dict(classes=classes),
            sub_data_root=root,
            ann_file=f'{root}/ImageSets/Main/{split}.txt',
            img_subdir='JPEGImages',
            ann_subdir='Annotations',
        )
        style = SceneStyle(len(classes), extent=(0.25, 0.55))
        write(dataset, DemoSplit(split, images, (320, 240), style, 0, lambda: None))


def generated_masks(root: str, classes: tuple[str, ...], splits: dict[str, int]) -> None:
    """Drawn pictures of 320 x 240 as ROOT/images/SPLIT/NAME.png, ROOT/annotations/SPLIT/NAME.png.

    Labels are 0, 1, ... of the first eight classes; a margin has the label after the last class.
    """
    import numpy as np
    from PIL import Image

    from mmattn.datasets.demos import DemoSplit, save_image
    from mmattn.datasets.scenes import SceneStyle

    style = SceneStyle(min(len(classes), 8), stuff=2, count=(2, 4), extent=(0.3, 0.6))
    for split, images in splits.items():
        maps = Path(root, 'annotations', split)
        maps.mkdir(parents=True)
        demo = DemoSplit(split, images, (320, 240), style, 0, lambda: None)
        for index, scene in enumerate(demo.scenes()):
            save_image(scene, Path(root, 'images', split, f'{index:04d}.png'))
            labels = np.pad(scene.labels[4:-4, 4:-4], 4, constant_values=len(classes))
            Image.fromarray(labels.astype(np.uint8)).save(maps / f'{index:04d}.png')


def shown(*paths: str | Path, width: int = 700) -> None:
    """Show pictures as small JPEGs, one below the other."""
    import io

    from IPython.display import Image as Shown
    from IPython.display import display
    from PIL import Image

    for path in paths:
        with Image.open(path) as image:
            image = image.convert('RGB')
        height = round(image.height * width / image.width)
        if image.width > width:
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, 'JPEG', quality=85)
        display(Shown(file.getvalue(), format='jpeg'))


def make_data(page: Path) -> str:
    """Run what a tutorial's hidden cell does after `%run`; returns the folder it made."""
    code = page.read_text(encoding='utf-8').partition('%run ../scratch.py\n')[2].partition('```')[0]
    folder = re.search(r"'(data/\w+)'", code)[1]
    if Path(folder).exists():
        sys.exit(f'error: {folder} is there already; move or remove it, and run this again')
    Path('data').mkdir(exist_ok=True)
    exec(code, globals())
    return folder


def main() -> None:
    pages = {
        path.stem: path
        for path in sorted(ROOT.glob('docs/tutorials/*.md'))
        if path.stem != 'follow'
    }
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('tutorial', nargs='?', choices=pages, help='whose data to make in data/')
    args = parser.parse_args()
    if args.tutorial:
        print('written:', make_data(pages[args.tutorial]))
    else:
        enter()
        run_as_script()


if __name__ == '__main__':
    main()
