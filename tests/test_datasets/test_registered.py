"""The data sets that inherit from mmdet are found by name, and know their classes."""

import pytest

import mmattn.datasets
import mmattn.evaluation
from mmattn.registry import DATASETS, METRICS

pytest.importorskip('mmdet')


def test_walking_the_registries_and_the_packages_finds_all():
    assert set(DATASETS.module_dict) == set(mmattn.datasets.__all__)
    assert set(METRICS.module_dict) == set(mmattn.evaluation.__all__)
    for registry, package in ((DATASETS, mmattn.datasets), (METRICS, mmattn.evaluation)):
        for name in package.__all__:
            assert getattr(package, name) is registry.get(f'mmattn.{name}')
        assert not hasattr(package, 'Nothing')


@pytest.mark.parametrize('name', ['ExDarkDataset', 'FLIRDataset', 'VisDroneDataset'])
def test_every_class_has_a_colour_of_its_own(name):
    metainfo = getattr(mmattn.datasets, name).METAINFO
    assert len(metainfo['classes']) == len(set(metainfo['classes'])) == len(metainfo['palette'])
    assert len(set(metainfo['palette'])) == len(metainfo['palette'])
