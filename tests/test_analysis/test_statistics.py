"""Tests, effect sizes and intervals: by hand, and as scipy and statsmodels have them."""

import numpy as np
import pytest

from mmattn.analysis import statistics
from mmattn.analysis.statistics import (
    bootstrap,
    correlation_for,
    d_z_of,
    holm,
    mean_interval,
    p_of,
    paired,
    paired_given_correlation,
    unpaired,
    welch,
)
from mmattn.utils.errors import InvalidValue

stats = pytest.importorskip('scipy.stats')

# Differences 1, 2, 3: mean 2, deviation 1.
SCORES, BASELINE = [71.0, 74.0, 73.0], [70.0, 72.0, 70.0]


def test_three_pairs_by_hand():
    result = paired(SCORES, BASELINE)
    assert result.paired and (result.n, result.n_baseline) == (3, 3)
    assert result.mean == pytest.approx(2) and result.deviation == pytest.approx(1)
    assert result.effects['d_z'] == pytest.approx(2)
    assert result.t == pytest.approx(2 * 3**0.5) and result.df == 2
    # With two degrees of freedom p = 1 - t / sqrt(t^2 + 2).
    assert result.p == pytest.approx(1 - (12 / 14) ** 0.5)
    # 4.3027 is the 97.5 % quantile.
    half = 4.302653 / 3**0.5
    assert result.interval == pytest.approx((2 - half, 2 + half), rel=1e-6)
    # Both deviations: sqrt(7/3), sqrt(4/3).
    assert result.effects['d_av'] == pytest.approx(4 / ((7 / 3) ** 0.5 + (4 / 3) ** 0.5))
    assert result.wilcoxon is None and 'smallest p is 0.25, 6 are needed' in result.why[0]


def test_pairs_as_scipy_has_them():
    random = np.random.default_rng(0)
    scores, baseline = random.normal(1, 2, 12), random.normal(0, 1, 12)
    result, theirs = paired(scores, baseline), stats.ttest_rel(scores, baseline)
    assert (result.t, result.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    interval = theirs.confidence_interval(0.95)
    assert result.interval == pytest.approx((interval.low, interval.high))
    assert result.wilcoxon == pytest.approx(stats.wilcoxon(scores, baseline).pvalue)
    assert not result.why


def test_unpaired_groups_as_scipy_has_them():
    random = np.random.default_rng(0)
    scores, baseline = random.normal(1, 2, 7), random.normal(0, 1, 5)
    result, theirs = unpaired(scores, baseline), stats.ttest_ind(scores, baseline, equal_var=False)
    assert (result.t, result.p, result.df) == pytest.approx(
        (theirs.statistic, theirs.pvalue, theirs.df)
    )
    assert not result.paired and (result.n, result.n_baseline) == (7, 5)
    assert unpaired([1, 3], [0, 2]).effects == {'d_s': pytest.approx(1 / 2**0.5)}
    by_moments, d_s = welch(result.mean, (scores.std(ddof=1), 7), (baseline.std(ddof=1), 5))
    assert by_moments['p'] == pytest.approx(result.p) and d_s == result.effects['d_s']


def test_moments_and_their_correlation_make_the_paired_test():
    random = np.random.default_rng(1)
    baseline = random.normal(0, 1, 6)
    scores = baseline + random.normal(1, 0.5, 6)
    result = paired(scores, baseline)
    deviations = scores.std(ddof=1), baseline.std(ddof=1)
    r = float(np.corrcoef(scores, baseline)[0, 1])
    tested, d_z = paired_given_correlation(result.mean, deviations, 6, r)
    assert tested['p'] == pytest.approx(result.p) and d_z == pytest.approx(result.effects['d_z'])
    assert correlation_for(result.p, result.mean, deviations, 6) == pytest.approx(r)
    assert p_of(d_z, 6) == pytest.approx(result.p) and d_z_of(result.p, 6) == pytest.approx(d_z)
    with pytest.raises(InvalidValue, match='correlation=1.*all be equal'):
        paired_given_correlation(1.0, (0.5, 0.5), 3, 1)


@pytest.mark.parametrize(
    ('ps', 'corrected'),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, None, 0.6], [1.0, None, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(ps, corrected):
    assert holm(ps) == pytest.approx(corrected)


def test_holm_as_statsmodels_has_it():
    multitest = pytest.importorskip('statsmodels.stats.multitest')
    ps = np.random.default_rng(0).random(20) ** 3
    assert holm(ps) == pytest.approx(multitest.multipletests(ps, method='holm')[1])


def test_the_bootstrap_is_the_same_every_time():
    random = np.random.default_rng(0)
    scores, baseline = random.normal(1, 1, 40), random.normal(0, 1, 30)
    assert bootstrap(scores) == bootstrap(scores) != bootstrap(scores, seed=1)
    theirs = stats.bootstrap([scores], np.mean, method='percentile').confidence_interval
    assert bootstrap(scores) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    theirs = stats.bootstrap(
        [scores, baseline],
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        method='percentile',
    ).confidence_interval
    assert bootstrap(scores, baseline) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_the_bootstrap_of_many_images_is_drawn_in_blocks(monkeypatch):
    scores = np.random.default_rng(0).random(100)
    whole = bootstrap(scores, resamples=200)
    monkeypatch.setattr(statistics, 'BLOCK', 700)
    assert bootstrap(scores, resamples=200) == whole


def test_the_bootstrap_of_three_reaches_its_extremes():
    # One draw in 27 is all zeros: more than 2.5 %.
    low, high = bootstrap([0.0, 1.0, 2.0])
    assert (low, high) == (0.0, 2.0)


def test_what_cannot_be_computed_is_said():
    one = paired([1.0], [0.5])
    assert (one.mean, one.p, one.interval, one.bootstrap) == (0.5, None, None, None)
    assert one.why == ('one pair: no test, no interval',)
    alone = unpaired([1.0], [0.5, 0.7])
    assert alone.mean == pytest.approx(0.4) and alone.p is None
    assert '1 and 2 runs' in alone.why[0]
    # 90.1 - 90 is not 91.1 - 91 in binary.
    equal = paired([90.1, 91.1, 92.1], [90.0, 91.0, 92.0])
    assert equal.p is None and equal.effects == {'d_av': pytest.approx(0.1)}
    assert equal.why[-1] == 'all differences are equal: no t-test, no d_z'
    assert unpaired([1, 1], [2, 2]).p is None


def test_what_is_no_scores_is_refused():
    with pytest.raises(InvalidValue, match='2 scores and 1'):
        paired([1, 2], [1])
    for wrong in ([], [float('nan')], [[1.0]]):
        with pytest.raises(InvalidValue, match='finite numbers'):
            unpaired([1.0], wrong)


def test_the_interval_of_a_mean():
    scores = [1.0, 2.0, 4.0, 8.0]
    theirs = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert mean_interval(scores) == pytest.approx((theirs.low, theirs.high))
    assert mean_interval([1.0]) is None
