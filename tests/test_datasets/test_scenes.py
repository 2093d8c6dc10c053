import numpy as np
import pytest

from mmattn.datasets.scenes import DISTINCT_CATEGORIES, SceneStyle, draw_scene, scene_rng
from mmattn.demo.tasks import TASKS


@pytest.mark.parametrize('name', TASKS)
@pytest.mark.parametrize('size', [(256, 192), (64, 64), (32, 32)])
def test_objects_lie_inside_and_match_the_labels(name, size):
    style = TASKS[name].style
    for index in range(6):
        scene = draw_scene(scene_rng(0, 'part', index), size, style)
        assert scene.image.shape == (size[1], size[0], 3)
        assert scene.image.dtype == np.uint8
        assert len(scene.objects) >= 1
        assert style.stuff == 0 or scene.labels.min() >= 0
        for item in scene.objects:
            x1, y1, x2, y2 = item.box
            assert 0 <= x1 < x2 <= size[0]
            assert 0 <= y1 < y2 <= size[1]
            assert style.stuff <= item.category < style.categories
            inside = scene.labels[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1]
            covered = (inside == item.category).sum()
            assert covered == pytest.approx(item.area, rel=0.25, abs=8)


def test_same_seed_same_scene():
    style = TASKS['detection'].style
    one, same, other = (
        draw_scene(scene_rng(seed, key, 3), (96, 64), style)
        for seed, key in ((0, 'a'), (0, 'a'), (1, 'a'))
    )
    assert (one.image == same.image).all()
    assert (one.image != other.image).any()


def test_parts_differ():
    style = TASKS['detection'].style
    train, val = (draw_scene(scene_rng(0, key, 0), (96, 64), style) for key in ('train', 'val'))
    assert (train.image != val.image).any()


def test_a_wanted_category_is_drawn():
    style = SceneStyle(categories=10, count=(1, 1))
    for category in range(10):
        scene = draw_scene(scene_rng(0, 'x', category), (64, 64), style, category)
        assert [item.category for item in scene.objects] == [category]


def test_too_many_categories_are_refused():
    style = SceneStyle(categories=DISTINCT_CATEGORIES + 1)
    with pytest.raises(ValueError, match=str(DISTINCT_CATEGORIES)):
        draw_scene(scene_rng(0, 'x', 0), (64, 64), style)
