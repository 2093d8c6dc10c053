"""DRIVE and its like: images of the retina, and png files with 1 at vessels."""

from typing import Any

from mmattn.datasets.ade20k.demo import write as write_maps
from mmattn.datasets.demos import DemoFormat, DemoSplit
from mmattn.datasets.drive.fundus import draw_fundus


def write(dataset: Any, demo: DemoSplit) -> None:
    """Write images and label maps."""
    write_maps(dataset, demo, demo.pictures(draw_fundus))


READERS = ('DRIVEDataset', 'CHASEDB1Dataset', 'HRFDataset', 'STAREDataset')
DEMO = DemoFormat('segmentation', READERS, write)
