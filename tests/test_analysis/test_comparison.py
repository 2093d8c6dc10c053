"""Runs against a baseline: who is compared with whom, by what, and what is said."""

import csv
import io

import pytest

from mmattn.analysis import comparison, published, ranks
from mmattn.analysis.complexity import Complexity
from mmattn.analysis.groups import Metric, collect
from mmattn.analysis.runs import Run, read_runs, write_per_image
from mmattn.engine.summary import SUMMARY_FILE
from mmattn.utils.errors import UnknownName, UserError
from tests.test_analysis.fabricated_runs import CONFIG, PLAIN, write_group, write_run

pytest.importorskip('scipy')
NONE, SE = [70.0, 72.0, 70.0], [71.0, 74.0, 73.0]


@pytest.fixture
def study(tmp_path):
    """Two groups of three seeds."""
    write_group(tmp_path / 'none', NONE, PLAIN)
    write_group(tmp_path / 'se', SE)
    return tmp_path


def groups_of(folder, metric=None):
    return collect(read_runs([folder])[0], metric)


def compared(folder, baseline=None, metric=None):
    return comparison.compare(groups_of(folder, metric)[0], baseline)


def test_a_group_is_compared_in_pairs_of_a_seed(study):
    groups, notes = groups_of(study)
    assert [(one.name, one.data, one.scores) for one in groups] == [
        ('none', 'tiny', NONE),
        ('SE', 'tiny', SE),
    ]
    assert not notes and groups[0].metric.name == 'accuracy/top1'
    ((one,), notes) = comparison.compare(groups)
    assert (one.group, one.baseline) == (groups[1], groups[0])
    assert one.difference.paired and one.difference.effects['d_z'] == pytest.approx(2)
    assert one.p_holm == one.difference.p and one.images is None
    assert len(notes) == 1 and 'SE (tiny): no Wilcoxon test' in notes[0]


def test_only_shared_seeds_are_pairs(tmp_path):
    write_group(tmp_path / 'none', NONE, PLAIN)
    write_group(tmp_path / 'se', [90.0, *SE[1:]][::-1], first=1)
    ((one,), notes) = compared(tmp_path)
    # Seeds 1 and 2 of the baseline, 1 and 2 of the group.
    assert one.difference.n == 2 and one.difference.mean == pytest.approx((73 + 74 - 72 - 70) / 2)
    assert 'SE (tiny): 2 runs have no partner of the same seed and are in no pair.' in notes


def test_without_shared_seeds_the_test_is_welchs(tmp_path):
    write_group(tmp_path / 'none', NONE, PLAIN)
    write_group(tmp_path / 'se', SE, first=10)
    ((one,), notes) = compared(tmp_path)
    assert not one.difference.paired and set(one.difference.effects) == {'d_s'}
    assert 'SE (tiny): unpaired, as 0 seeds are shared.' in notes


def test_one_run_each_has_a_difference_and_no_test(tmp_path):
    write_run(tmp_path / 'a', 70.0, config=PLAIN)
    write_run(tmp_path / 'b', 71.5)
    ((one,), notes) = compared(tmp_path)
    assert one.difference.mean == 1.5 and one.p_holm is None
    assert notes == ['SE (tiny): one pair: no test, no interval.']


def test_holm_counts_all_comparisons(study):
    for name, gain in (('ECA', 1.0), ('SCSA', 3.0)):
        scores = [score + gain for score in NONE]
        scores[0] += 0.5
        config = CONFIG.replace("'SE'", f"'{name}'")
        write_group(study / name, scores, config, attention=name)
    comparisons, _ = compared(study)
    assert [one.group.name for one in comparisons] == ['ECA', 'SCSA', 'SE']
    smallest = min(comparisons, key=lambda one: one.difference.p)
    assert smallest.group.name == 'SCSA'
    assert smallest.p_holm == pytest.approx(3 * smallest.difference.p)


def test_runs_left_out_are_counted_and_named(study, capsys):
    (study / 'se' / 'seed2' / SUMMARY_FILE).unlink()
    (study / 'se' / 'seed2' / '20260101_000000').mkdir()
    write_run(study / 'other', seed=7, metrics={'loss': 0.5})
    again = write_run(study / 'again', 80.0, seed=0)
    (again / '20260102_000000').mkdir()
    groups, notes = groups_of(study, 'top1')
    assert notes[0] == '3 of 8 runs are left out.'
    assert 'left out, not finished: se/seed2.' in notes
    assert "left out, no metric 'top1'; there is loss: other." in notes
    assert any('se/seed0' in note and 'again has the same seed (0) in SE' in note for note in notes)
    assert groups[1].scores == [80.0, 74.0]


def test_a_metric_that_no_run_has_names_those_there_are(study):
    with pytest.raises(UserError, match="no metric 'mIoU'; there is accuracy/top1, accuracy/top5"):
        groups_of(study, 'mIoU')


@pytest.mark.parametrize(
    ('metric', 'scores', 'lower'),
    [
        ('top1', [70.0, 72.0, 70.0], False),
        ('accuracy/top5', [99.0] * 3, False),
        ('100 - top1', [30.0, 28.0, 30.0], True),
    ],
)
def test_metrics(study, metric, scores, lower):
    groups, _ = groups_of(study, metric)
    assert groups[0].scores == scores and groups[0].metric.lower_is_better == lower
    ((one,), _) = comparison.compare(groups)
    assert one.improvement == pytest.approx(0 if '5' in metric else 2)


def test_shares_become_per_cent_and_cocos_minus_one_is_no_score(tmp_path):
    metrics = {'coco/bbox_mAP': 0.382, 'coco/bbox_mAP_l': -1.0, 'loss': 0.5, 'wrong': float('nan')}
    folder = write_run(tmp_path / 'a', metrics=metrics, task='detection (mmdet)')
    ((run,), _) = read_runs([folder])
    assert Metric('bbox_mAP').of(run) == pytest.approx(38.2) and Metric('loss').of(run) == 0.5
    assert Metric('loss').lower_is_better and not Metric('bbox_mAP').lower_is_better
    for name in ('bbox_mAP_l', 'wrong'):
        with pytest.raises(UnknownName, match='there is coco/bbox_mAP, loss.$'):
            Metric(name).of(run)


def test_settings_set_groups_apart(study):
    longer = CONFIG.replace('lr=0.05', 'lr=0.1')
    write_group(study / 'lr', [75.0, 76.0], longer)
    groups, _ = groups_of(study)
    assert [one.name for one in groups] == [
        'none',
        'SE, optim_wrapper.optimizer.lr=0.1',
        'SE, optim_wrapper.optimizer.lr=0.05',
    ]
    many = longer.replace('num_classes=2', 'num_classes=3').replace('depth=18', 'depth=34')
    write_group(study / 'many', [60.0], many.replace("'SGD'", "'Adam'"))
    groups, notes = groups_of(study)
    assert [one.name for one in groups[1:]] == [f'SE, settings {n}' for n in (1, 2, 3)]
    assert 'settings 1 to 3 differ in' in notes[0] and 'model.backbone.depth' in notes[0]


def test_the_baseline_is_chosen_by_group_attention_or_config(tmp_path):
    for name, config, attention in (
        ('net_cifar10', PLAIN, 'none'),
        ('senet_cifar10', CONFIG, 'SE'),
        ('other_cifar10', PLAIN, 'none'),
        ('other_cifar10', CONFIG, 'SE'),
    ):
        folder = tmp_path / f'{name}_{attention}'
        write_group(folder, NONE, config, name=f'{name}.py', attention=attention)
    groups, _ = groups_of(tmp_path)
    names = [one.name for one in groups]
    assert names == ['net none', 'other none', 'other SE', 'senet SE']
    # Each its own config's; of the fourth there are two.
    comparisons, notes = comparison.compare(groups)
    assert [(one.group.name, one.baseline.name) for one in comparisons] == [
        ('other SE', 'other none')
    ]
    assert notes[-1].startswith('senet SE (cifar10): not compared, there is not one baseline')
    assert 'net none and other none' in notes[-1]
    for wanted in ('net none', 'net_cifar10'):
        comparisons, _ = comparison.compare(groups, wanted)
        assert [one.group.name for one in comparisons] == ['other none', 'other SE', 'senet SE']
        assert {one.baseline.name for one in comparisons} == {'net none'}
    (_, other, _), _ = comparison.compare(groups, 'other_cifar10')
    assert other.baseline.name == 'other none'
    with pytest.raises(UnknownName, match="'SCSA' is no group; valid: net none, other none"):
        comparison.compare(groups, 'SCSA')


def test_images_are_pairs_where_runs_have_their_scores(study):
    for seed in range(2):
        write_per_image(study / 'none' / f'seed{seed}', {'a': 0, 'b': 0, 'c': 100, 'd': 100})
        write_per_image(study / 'se' / f'seed{seed}', {'a': 100, 'b': 0, 'c': 100, 'e': seed})
    ((one,), notes) = compared(study)
    assert one.images.n == 3 and one.images.mean == pytest.approx(100 / 3)
    assert one.images.bootstrap[0] == 0 and one.images.bootstrap[1] == 100
    assert any('2 images are left out' in note for note in notes)
    for folder in (study / 'none').iterdir():
        write_per_image(folder, {'z': 1})
    with pytest.raises(UserError, match='scores of other images'):
        compared(study)


def test_error_drop_efficiency(study):
    ((one,), _) = compared(study)
    assert one.per_unit(0.5) == pytest.approx(0.25)
    ((worse,), _) = compared(study, metric='top5')
    assert worse.per_unit(0.5) is None


def test_sizes_come_from_the_configs_that_runs_kept(study):
    groups, _ = groups_of(study)
    sizes, notes = comparison.complexities(groups)
    plain, se = (sizes[group] for group in groups)
    assert not notes and se.params > plain.params > 0 and se.flops > plain.flops
    for path in study.glob('se/*/tiny.py'):
        path.unlink()
    groups, _ = groups_of(study)
    sizes, notes = comparison.complexities(groups)
    assert list(sizes.values()) == [plain]
    assert notes == ['SE (tiny): size not known: its runs kept no config.']


@pytest.fixture
def many(tmp_path):
    """Four groups over three data sets with two seeds: SCSA > SE > none > ECA in all."""
    for data in ('voc', 'bccd', 'coco'):
        for name, gain in (('none', 0.0), ('SE', 1.0), ('ECA', -1.0), ('SCSA', 2.0)):
            config = PLAIN if name == 'none' else CONFIG.replace("'SE'", f"'{name}'")
            scores = [gain + 50, gain + 60]
            folder = tmp_path / data / name
            write_group(folder, scores, config, name=f'net_{data}.py', attention=name)
    return tmp_path


def test_ranks_over_data_sets_and_seeds(many):
    pytest.importorskip('autorank')
    ranked = ranks.rank(groups_of(many)[0])
    assert ranked.means == {'SCSA': 1, 'SE': 2, 'none': 3, 'ECA': 4}
    assert (ranked.blocks, ranked.what) == (6, 'seeds of 3 data sets')
    # 12 n / (k (k + 1)) (sum of squared ranks - k (k + 1)^2 / 4) = 18, three degrees of freedom.
    from scipy.stats import chi2, studentized_range

    assert ranked.p == pytest.approx(chi2.sf(18, 3))
    quantile = studentized_range.ppf(0.95, 4, 1e6)
    assert ranked.critical == pytest.approx(quantile * (4 * 5 / (12 * 6)) ** 0.5, rel=1e-3)
    error = ranks.rank(groups_of(many, '100 - top1')[0])
    assert error.means == ranked.means


def test_a_data_set_without_some_groups_is_named(many):
    pytest.importorskip('autorank')
    write_group(many / 'flir', [50.0, 51.0], PLAIN, name='net_flir.py')
    ranked = ranks.rank(groups_of(many)[0])
    assert ranked.blocks == 6 and ranked.left_out.startswith('left out: flir')


def test_too_few_for_ranks(study):
    with pytest.raises(UserError, match='they need 3 groups in 5 blocks.*there are 2 in 3'):
        ranks.rank(groups_of(study)[0])


def test_the_published_tables_from_their_own_numbers():
    significance, efficiency, ablation = published.sections()
    rows = {row['model']: row for row in significance.rows}
    assert len(rows) == 5 and 'p (report)' not in rows['ResNet-56']
    # 0.47 / sqrt((0.05^2 + 0.04^2) / 2), and t = 0.47 sqrt(3) / 0.09 for r = -1.
    ours = rows['SE-Res2Net-29']
    assert ours['d_s'] == '10.38' and ours['d (report)'] == '1.3'
    assert ours['d_z (paired)'] == '5.22 .. 47.00' and ours['p (paired)'] == '0.00015 .. 0.012'
    assert rows['SE-ResNet-110']['d_z (paired)'] == '5.35 .. 26.75'
    notes = ' '.join(significance.notes)
    assert 'p = 0.005 follows at r = 0.19' in notes and 'd = 1.3 at none' in notes
    assert 'p = 0.002 follows at r = 0.72' in notes and 'a d_z of 1.9 has p = 0.08' in notes
    assert [row['params per 1% (M)'] for row in efficiency.rows] == ['0.794', '0.043']
    assert [row['multiply-adds per 1% (M)'] for row in efficiency.rows] == ['117', '4.26']
    assert '18.7 times apart' in efficiency.notes[0]
    assert len(efficiency.notes) == 2 and '0.15 M does not follow' in efficiency.notes[1]
    assert [row['above the best (%)'] for row in ablation.rows] == ['0.47', '0.14', '0.06', '0.00']
    assert [row['error drop (%)'] for row in ablation.rows] == ['-', '0.33', '0.41', '0.47']


@pytest.fixture
def tool(analysis_tool):
    return lambda *words: analysis_tool('compare_runs', *words)


def test_the_tool_writes_tables(tool, study, capsys):
    write_run(study / 'lost', seed=9, metrics={'loss': 1.0})
    assert tool(study) == 0
    out = capsys.readouterr().out
    assert 'Against the baseline, over seeds' in out and '+2.00' in out and '3 pairs' in out
    assert '1 of 7 runs are left out' in out and 'p (Holm): corrected for the 1 test of' in out
    assert 'over images' not in out and 'ranks' not in out
    for folder in study.glob('*/seed*'):
        write_per_image(folder, {'a': 0, 'b': 1 + (folder.parent.name == 'se')})
    table = study / 'table.csv'
    assert tool(study, '--format', 'csv', '--out', table, '--no-sizes') == 0
    plain, se = csv.DictReader(io.StringIO(table.read_text()))
    assert (plain['group'], plain['mean'], plain['difference']) == ('none', '70.67', '')
    assert (se['group'], se['mean'], se['difference']) == ('SE', '72.67', '+2.00')
    assert se['difference (images)'] == '+0.50' and se['d_z'] == '2.00'
    assert 'note: 1 of 7 runs are left out' in capsys.readouterr().err


def test_the_tool_draws(tool, many, capsys):
    pytest.importorskip('autorank')
    plot = many / 'plot.png'
    words = ['--no-sizes', '--plot', plot, '--format', 'markdown', '--out', many / 'a.md']
    assert tool(many, *words) == 0
    from PIL import Image

    for path in (plot, many / 'plot_ranks.png'):
        with Image.open(path) as image:
            assert image.width > 1000 and len(image.convert('RGB').getcolors(2**20)) > 20
    text = (many / 'a.md').read_text()
    assert text.startswith('## Groups\n\n| data set | group | metric |') and '## Ranks' in text


def test_the_tool_shows_what_is_published(tool, capsys):
    assert tool('--published', '--format', 'markdown') == 0
    out = capsys.readouterr().out
    for title in ('## Table 1', '## Table 2', '## Table 4'):
        assert title in out


def test_what_could_not_be_compared_or_ranked_is_said(tool, tmp_path, capsys):
    for name in ('SE', 'ECA', 'SCSA'):
        config = CONFIG.replace("'SE'", f"'{name}'")
        write_group(tmp_path / name, [70.0, 71.0], config, attention=name)
    assert tool(tmp_path, '--no-sizes') == 0
    out = capsys.readouterr().out
    assert 'all: not compared, there is not one baseline' in out
    assert 'no ranks: they need 3 groups in 5 blocks' in out and 'there are 3 in 2' in out


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ([], 'give either runs or --published'),
        (['a', '--published'], 'give either runs or --published'),
        (['--published', '--metric', 'x'], 'no other option'),
        (['nowhere'], "'nowhere' is no folder"),
        (['.', '--baseline', 'SCSA'], "--baseline 'SCSA' is no group; valid: none, SE"),
        (['.', '--metric', 'mAP'], 'there is accuracy/top1'),
        (['.', '--format', 'xml'], 'invalid choice'),
    ],
)
def test_wrong_options_are_refused(words, said, tool, study, monkeypatch, capsys):
    monkeypatch.chdir(study)
    assert tool(*words) == 2 and said in capsys.readouterr().err


def test_nothing_is_compared_without_runs():
    unfinished = Run(folder=None, name='a')
    with pytest.raises(UserError, match='no run to compare.\nleft out, not finished: a.'):
        collect([unfinished])


def test_sizes_are_added_to_the_tables(study):
    from mmattn.analysis.comparison_tables import comparison_section, group_section

    groups, _ = groups_of(study)
    sizes = {
        groups[0]: Complexity((1, 1), params=1_000_000, flops=10_000_000),
        groups[1]: Complexity((1, 1), params=1_500_000, flops=11_000_000),
    }
    comparisons, _ = comparison.compare(groups)
    (row,) = comparison_section(comparisons, sizes).rows
    assert (row['+params (M)'], row['params (per 1%)']) == ('+0.5', '0.25')
    assert (row['+multiply-adds (M)'], row['multiply-adds (per 1%)']) == ('+1', '0.5')
    assert [row['params (M)'] for row in group_section(groups, sizes).rows] == ['1', '1.5']
