import numpy as np
import pytest

from mmattn.datasets.drive.fundus import draw_fundus
from mmattn.datasets.scenes import scene_rng


@pytest.mark.parametrize('size', [(32, 32), (120, 96), (565, 584)])
def test_vessels_are_thin_dark_and_inside_of_the_eye(size):
    for index in range(3):
        scene = draw_fundus(scene_rng(0, 'part', index), size)
        assert scene.image.shape == (size[1], size[0], 3) and scene.image.dtype == np.uint8
        assert scene.labels.shape == (size[1], size[0]) and set(np.unique(scene.labels)) == {0, 1}
        vessel = scene.labels == 1
        assert 0.04 < vessel.mean() < 0.25
        y, x = np.nonzero(vessel)
        centre = np.array(size) / 2
        assert np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1]).max() <= 0.49 * min(size) + 1
        # No square of a tenth of the image is filled but around the optic disc, where all begin.
        side = max(3, min(size) // 8)
        windows = np.lib.stride_tricks.sliding_window_view(vessel, (side, side)).mean((2, 3))
        assert (windows > 0.9).mean() < 0.02
        if min(size) > 64:
            green = scene.image[..., 1].astype(float)
            beside = (np.roll(vessel, 6, 0) | np.roll(vessel, -6, 0)) & ~vessel & (green > 40)
            assert green[vessel].mean() < green[beside].mean() - 15


def test_same_seed_same_retina():
    one, same, other = (draw_fundus(scene_rng(seed, 'a', 3), (96, 64)).image for seed in (0, 0, 1))
    assert (one == same).all() and (one != other).any()
