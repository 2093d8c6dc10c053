"""A trained model of any toolbox, with its images as the test pipeline gives them."""

import numpy as np
import pytest
import torch

from mmattn.analysis.trained import Described, Trained, choose, list_images, names_of
from mmattn.engine.config import load_config
from mmattn.utils.errors import UserError

TOOLBOXES = ('mmpretrain', 'mmdet', 'mmseg')


def opened(name, *options, checkpoint=None, seed=0):
    pytest.importorskip(name)
    return Trained(load_config(f'{name}.py', options)[0], checkpoint, seed=seed)


@pytest.mark.parametrize('name', TOOLBOXES)
def test_an_image_comes_as_the_model_takes_it(name, tiny_models):
    trained = opened(name)
    sample = trained.sample(tiny_models / 'red.png')
    side = {'mmpretrain': (32, 32)}.get(name, (48, 64))
    assert tuple(sample['inputs'].shape[1:]) == side
    picture = trained.picture(sample)
    assert picture.shape == (*side, 3) and picture.dtype == np.uint8
    assert (picture == (200, 0, 0)).all()
    inputs, _ = trained.batch(sample)
    padded = {'mmpretrain': (32, 32)}.get(name, (64, 64))
    assert tuple(inputs.shape) == (1, 3, *padded)
    # RGB, normalised
    assert inputs[0, :, 0, 0].tolist() == [(200 - 128) / 64, -2, -2]


@pytest.mark.parametrize('name', TOOLBOXES)
def test_an_image_may_have_another_size(name, tiny_models):
    trained = opened(name)
    inputs = trained.batch(trained.sample(tiny_models / 'red.png', (64, 128)))[0]
    assert tuple(inputs.shape) == (1, 3, 64, 128)


def test_images_that_the_pipeline_does_not_load_are_rgb(tiny_models):
    pytest.importorskip('mmpretrain')
    cfg, _ = load_config('mmpretrain.py')
    cfg.test_dataloader.dataset.pipeline = [dict(type='PackInputs')]
    trained = Trained(cfg)
    sample = trained.sample(tiny_models / 'red.png')
    assert sample['inputs'][:, 0, 0].tolist() == [200, 0, 0]
    assert (trained.picture(sample) == (200, 0, 0)).all()


def test_a_normalised_picture_can_be_looked_at(tiny_models):
    trained = opened('mmpretrain')
    sample = trained.sample(tiny_models / 'half.png')
    sample['inputs'] = (sample['inputs'].float() - 128) / 64
    picture = trained.picture(sample)
    assert picture.dtype == np.uint8 and picture.min() == 0 and picture.max() == 255


def test_weights_are_those_of_the_file_or_of_the_seed(tiny_models):
    first, same, other = (opened('mmseg', seed=seed) for seed in (1, 1, 2))
    key = 'backbone.layer1.0.conv1.weight'
    assert torch.equal(first.model.state_dict()[key], same.model.state_dict()[key])
    assert not torch.equal(first.model.state_dict()[key], other.model.state_dict()[key])
    # Residual branches let gradients pass, as init_weights() would not.
    assert first.model.state_dict()['backbone.layer1.0.bn2.weight'].all()
    for saved in (first.model, first.model.backbone):
        torch.save(dict(state_dict=saved.state_dict()), 'weights.pth')
        loaded = opened('mmseg', checkpoint='weights.pth', seed=3)
        assert torch.equal(loaded.model.state_dict()[key], first.model.state_dict()[key])
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_a_checkpoint_of_another_model_is_refused(tiny_models):
    state = opened('mmpretrain').model.state_dict()
    torch.save({**state, 'backbone.more': torch.zeros(1)}, 'more.pth')
    with pytest.raises(UserError, match=r'more.pth does not fit.* 1 have no place .backbone.more'):
        opened('mmpretrain', checkpoint='more.pth')
    key = 'backbone.layer1.0.conv1.weight'
    torch.save({**state, key: torch.zeros(1)}, 'shape.pth')
    with pytest.raises(UserError, match=f'shape.pth does not fit.*size mismatch for {key}'):
        opened('mmpretrain', checkpoint='shape.pth')
    del state[key]
    torch.save(state, 'less.pth')
    with pytest.raises(UserError, match=f'less.pth does not fit.*1 keys are missing .{key}'):
        opened('mmpretrain', checkpoint='less.pth')


def test_test_images_are_drawn_by_the_seed(project):
    pytest.importorskip('mmpretrain')
    trained = Trained(load_config('tiny.py')[0])
    names = [[image['img_path'] for image in trained.test_images(3, seed)] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2] and len(set(names[0])) == 3
    assert len(trained.test_images(100)) == 8
    assert tuple(trained.sample(trained.test_images(1)[0])['inputs'].shape) == (3, 32, 32)


def test_what_is_missing_is_said(tiny_models):
    with pytest.raises(UserError, match='nowhere'):
        opened('mmpretrain').test_images(1)
    with pytest.raises(UserError, match='no test_dataloader'):
        opened('mmpretrain', 'test_dataloader=None').test_images(1)
    with pytest.raises(UserError, match='has no pipeline'):
        opened('mmpretrain', 'test_dataloader=None').sample(tiny_models / 'red.png')
    with pytest.raises(UserError, match='no model with a backbone'):
        opened('mmpretrain', 'model=None')
    with pytest.raises(UserError, match="'mmagic'"):
        opened('mmpretrain', 'default_scope=mmagic')


def test_images_of_files_and_folders(tiny_models):
    (tiny_models / 'more').mkdir()
    for name in ('b.png', 'a.JPG'):
        (tiny_models / 'more' / name).write_bytes((tiny_models / 'red.png').read_bytes())
    found = list_images(['half.png', 'more'])
    assert [path.as_posix() for path in found] == ['half.png', 'more/a.JPG', 'more/b.png']
    assert choose(found, 2, 1) == choose(found, 2, 1) and len(choose(found, 9)) == 3
    for name, message in (
        ('none.png', "image 'none.png' does not exist"),
        ('mmdet.py', 'mmdet.py: not a readable image'),
        ('empty', 'empty holds no image'),
    ):
        (tiny_models / 'empty').mkdir(exist_ok=True)
        with pytest.raises(UserError, match=message):
            list_images([name])


def test_a_model_in_words(tiny_models):
    (tiny_models / 'a=1.pth').write_text('')
    assert Described.of(['c.py']) == ('c.py', None, ())
    assert Described.of(['c.py', 'k=1', 'a=1.pth', 'l=2']) == ('c.py', 'a=1.pth', ('k=1', 'l=2'))
    with pytest.raises(UserError, match="given is 'c.py a.pth b.pth'"):
        Described.of(['c.py', 'a.pth', 'b.pth'])


@pytest.mark.parametrize(
    ('models', 'names'),
    [
        (['x/a.py', 'b.py one.pth'], ['a', 'b']),
        (['a.py 1.pth', 'a.py w/2.pth', 'a.py'], ['a, 1', 'a, 2', 'a, random weights']),
        (['a.py', 'a.py model.backbone.attention=None'], ['a', 'a, backbone.attention=None']),
        (['a.py', 'a.py'], ['a, random weights (1)', 'a, random weights (2)']),
    ],
)
def test_models_have_different_names(models, names):
    assert names_of([Described.of(words.split()) for words in models]) == names
