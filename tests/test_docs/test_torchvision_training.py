"""The script that trains a torchvision network runs as it is, and its attention learns."""

import pytest
import torch
from PIL import Image

from mmattn.attention import ECA
from mmattn.datasets.scenes import SceneStyle, draw_scene, scene_rng


@pytest.fixture
def script(load_script, project_root):
    return load_script(project_root, 'torchvision_training')


def test_it_trains_attention_in_a_torchvision_network(script, tmp_path):
    style = SceneStyle(categories=2, count=(1, 1), extent=(0.6, 0.8), centred=True)
    for index in range(16):
        scene = draw_scene(scene_rng(0, 'train', index), (32, 32), style, index % 2)
        folder = tmp_path / 'ab'[index % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(scene.image).save(folder / f'{index}.png')
    torch.manual_seed(0)
    model, losses = script.train(str(tmp_path), epochs=6, size=32)
    assert losses[-1] < 0.6 * losses[0]
    attentions = {name: m for name, m in model.named_modules() if isinstance(m, ECA)}
    assert len(attentions) == 8 and 'layer1.0.bn2.attn_output' in attentions
    assert all(p.grad.abs().sum() > 0 for m in attentions.values() for p in m.parameters())
