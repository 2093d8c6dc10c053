"""The pages of the model zoo are those of today's configs, rows and measured sizes."""

import json
import shutil

import pytest
import yaml

from mmattn.analysis import measure
from mmattn.engine.config import load_config
from mmattn.experiments import find_experiments
from mmattn.utils.errors import UserError


@pytest.fixture(scope='module')
def root(project_root):
    if not (project_root / 'docs').is_dir():
        pytest.skip('the pages are written in a checkout')
    return project_root


@pytest.fixture(scope='module')
def zoo(load_script, root):
    return load_script(root, 'zoo')


@pytest.fixture
def copy(root, tmp_path):
    """A second checkout, without the package and without kept runs."""
    for name in ('docs', 'configs'):
        shutil.copytree(root / name, tmp_path / name)
    (tmp_path / 'benchmarks' / 'results').mkdir(parents=True)
    return tmp_path


def test_the_pages_are_up_to_date(root, zoo):
    pages = zoo.render_pages()
    for path, text in pages.items():
        assert path.read_text(encoding='utf-8') == text, f'{path.name}: run {zoo.COMMAND}'
    written = set((root / 'configs' / 'metafiles').iterdir())
    assert written <= set(pages)


def test_every_config_and_every_row_is_measured(root, zoo):
    sizes = zoo.read_sizes()
    wanted = {(stem, '') for stem in zoo.config_stems(root / 'configs')}
    wanted |= {(row.config, ' '.join(row.cfg_options())) for row in find_experiments()}
    assert set(sizes) == wanted
    text = (root / 'configs' / 'README.md').read_text()
    for stem in zoo.config_stems(root / 'configs'):
        assert f'[{stem}]({stem}.py)' in text


@pytest.mark.parametrize(
    ('config', 'options'),
    [
        ('resnet50_scsa_in1k', ''),
        ('resnet101_scsa_in1k', 'model.backbone.attention.type=ECA'),
        ('retinanet_r50_scsa_1x_coco', ''),
        ('seres2net29_cifar10', ''),
    ],
)
def test_the_sizes_are_those_of_today(config, options, zoo):
    size = zoo.read_sizes()[config, options]
    found = measure(load_config(config, options.split())[0])
    assert (found.params, found.flops, *found.size) == (
        size.params,
        size.flops,
        size.height,
        size.width,
    )


def test_metafiles_are_what_openmmlabs_tools_read(root, zoo):
    index = yaml.safe_load((root / 'model-index.yml').read_text())
    names = []
    for entry in index['Import']:
        metafile = yaml.safe_load((root / entry).read_text())
        (collection,) = metafile['Collections']
        assert collection['Paper']['URL'].startswith('https://arxiv.org/abs/')
        assert (root / collection['README']).is_file()
        for model in metafile['Models']:
            assert model['In Collection'] == collection['Name']
            assert (root / model['Config']).stem == model['Name']
            assert isinstance(model['Metadata']['Parameters'], int)
            names.append(model['Name'])
    assert sorted(names) == zoo.config_stems(root / 'configs')


def test_mmengine_finds_a_config_by_its_name(root, tmp_path):
    """A base 'mmattn::NAME.py' is looked up so, in the wheel's .mim."""
    from mmengine.config.utils import _get_cfg_metainfo

    (tmp_path / '.mim').symlink_to(root)
    found = _get_cfg_metainfo(str(tmp_path), 'resnet50_scsa_in1k.py')
    assert found['Config'] == 'configs/resnet50_scsa_in1k.py'


def test_accuracies_are_the_papers_unless_a_run_is_kept(zoo, copy):
    pages = zoo.render_pages(copy)
    before = yaml.safe_load(pages[copy / 'configs/metafiles/upernet.yml'])['Models']
    assert not any('Results' in model for model in before)
    ade20k = next(m for m in before if m['Name'] == 'upernet_r50_scsa_80k_ade20k')
    assert ade20k['paper'] == {'Source': 'SCSA, arXiv:2407.05128, table 5', 'mIoU': 41.14}

    run = dict(config='upernet_r50_scsa_camvid', attention='SCSA', progress='300 iterations')
    run.update(time='5 min', metrics={'mIoU': 33.5}, note='62 frames')
    (copy / 'benchmarks/results/upernet_r50_scsa_camvid.json').write_text(json.dumps(run))
    pages = zoo.render_pages(copy)
    after = yaml.safe_load(pages[copy / 'configs/metafiles/upernet.yml'])['Models']
    (kept,) = (model for model in after if 'Results' in model)
    assert kept['Name'] == 'upernet_r50_scsa_camvid' and 'paper' not in kept
    assert kept['Results'][0]['Metrics'] == {'mIoU': 33.5}
    assert kept['Results'][0]['Note'] == '62 frames'
    assert 'mIoU 33.5' in pages[copy / 'configs' / 'README.md']


def test_it_writes_the_checkout_it_lies_in_and_says_so(
    load_script, root, copy, capsys, monkeypatch
):
    monkeypatch.chdir(root)
    page = copy / 'configs' / 'metafiles' / 'swin.yml'
    wanted = page.read_text()
    page.unlink()
    assert load_script(copy, 'zoo').main([]) == 0
    written = capsys.readouterr().out.splitlines()
    assert f'written: {page}' in written and page.read_text() == wanted
    assert all(line.startswith(f'written: {copy}/') for line in written)


def test_a_config_without_a_size_or_a_family_is_named(load_script, copy, capsys):
    zoo = load_script(copy, 'zoo')
    (copy / 'configs' / 'resnet50_new_in1k.py').touch()
    assert zoo.main([]) == 2
    said = capsys.readouterr().err
    assert 'not measured: resnet50_new_in1k; run python docs/zoo.py --measure new' in said
    with pytest.raises(UserError, match='vit_new: no family of docs/families.yml'):
        zoo.family_of('vit_new')
    with pytest.raises(UserError, match='resnet50_new_in1k.py has no docstring'):
        zoo.summary_of(copy / 'configs' / 'resnet50_new_in1k.py')


def test_measured_sizes_survive_writing(load_script, copy):
    zoo = load_script(copy, 'zoo')
    before = zoo.MEASURED.read_text()
    zoo.write_sizes(zoo.read_sizes().values())
    assert zoo.MEASURED.read_text() == before
