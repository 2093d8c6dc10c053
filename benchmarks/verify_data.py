#!/usr/bin/env python
"""How many images a second ``python -m mmattn data --verify`` reads: 640 x 480 JPEGs with boxes.

    python benchmarks/verify_data.py                        # about a minute on two cores
    python benchmarks/verify_data.py --images 50 --out /tmp     # seconds: only that it runs

Besides the clock's, the rate by the processors' own time: what as many cores would reach that have
nothing else to do. Writes verify_data_cpu.json.
"""

import argparse
import json
import os
import resource
import shlex
import sys
import tempfile
import time
from pathlib import Path

import cv2

from mmattn.analysis.throughput import machine
from mmattn.datasets.coco_json import coco_content
from mmattn.datasets.demos import save_scene
from mmattn.datasets.scenes import SceneStyle, draw_scene, scene_rng
from mmattn.engine.verify import verify
from mmattn.utils.errors import run
from mmattn.utils.files import write_whole

CLASSES = ('a', 'b', 'c')
DRAWN = 48  # the others are copies
CONFIG = """
default_scope = 'mmdet'
train_dataloader = dict(dataset=dict(
    type='CocoDataset', ann_file='coco.json', data_prefix=dict(img='images'), data_root=ROOT,
    metainfo=dict(classes=('a', 'b', 'c')),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
              dict(type='PackDetInputs')]))
"""


def parse_args() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument('--images', type=int, default=6000)
    parser.add_argument('--out', type=Path, default=Path(__file__).parent / 'results')
    return parser.parse_args()


def write_data(root: Path, number: int) -> int:
    """Write images and annotations; returns the mean size of a file in bytes."""
    records = []
    for index in range(min(number, DRAWN)):
        scene = draw_scene(scene_rng(0, 'verify', index), (640, 480), SceneStyle(len(CLASSES)))
        records.append(save_scene(scene, root / 'images', f'{index:06d}.jpg', CLASSES))
    sizes = [path.stat().st_size for path in (root / 'images').iterdir()]
    content, _ = coco_content(records, CLASSES)
    first, boxes = content['images'], content['annotations']
    for index in range(len(first), number):
        like = first[index % DRAWN]
        name = f'{index:06d}.jpg'
        os.link(root / 'images' / like['file_name'], root / 'images' / name)
        content['images'].append(dict(like, id=index + 1, file_name=name))
        own = [each for each in boxes if each['image_id'] == like['id']]
        for box in own[:1]:
            boxes.append(dict(box, id=len(boxes) + 1, image_id=index + 1))
    (root / 'coco.json').write_text(json.dumps(content))
    (root / 'config.py').write_text(CONFIG.replace('ROOT', repr(str(root))))
    return sum(sizes) // len(sizes)


def main() -> None:
    args = parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        size = write_data(Path(folder), args.images)
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        if verify(str(Path(folder, 'config.py')), processes=cores):
            raise RuntimeError('whole images were found wrong')
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    outcome = {
        **machine('cpu'),
        'command': shlex.join(['python', 'benchmarks/verify_data.py', *sys.argv[1:]]),
        'opencv': cv2.__version__,
        'images': args.images,
        'bytes of an image': size,
        'processes': cores,
        'images a second': round(args.images / seconds, 1),
        "images a second of the processors' time": round(args.images * cores / busy, 1),
        'load': os.getloadavg(),
    }
    path = args.out / 'verify_data_cpu.json'
    write_whole(path, json.dumps(outcome, indent=1) + '\n')
    print(json.dumps(outcome, indent=1))
    print(f'written: {path}')


if __name__ == '__main__':
    sys.exit(run(main))
