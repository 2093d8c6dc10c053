"""Tests, effect sizes and intervals for scores of a few runs or of many images.

Student's and Welch's t-tests, Wilcoxon's signed-rank test, Cohen's d in the variants that Lakens
tells apart (Frontiers in Psychology 4:863, 2013), Holm's correction (Scandinavian Journal of
Statistics 6, 1979), the percentile bootstrap (Efron and Tibshirani, 1993). scipy knows the
distributions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mmattn.analysis.extra import extra
from mmattn.utils.errors import InvalidValue

LEVEL = 0.95
RESAMPLES = 9999
# With fewer pairs Wilcoxon's smallest p, 2 / 2**n, is above 0.05.
WILCOXON_PAIRS = 6
# Random numbers of the bootstrap drawn at a time.
BLOCK = 2**22


@dataclass(frozen=True)
class Difference:
    """What scores have over a baseline's; None where it cannot be computed, ``why`` says why."""

    mean: float  # of the scores, less that of the baseline
    n: int
    n_baseline: int
    paired: bool
    deviation: float | None = None  # of the pairs' differences
    t: float | None = None
    df: float | None = None
    p: float | None = None  # two-sided
    interval: tuple[float, float] | None = None  # from the t-distribution
    bootstrap: tuple[float, float] | None = None
    wilcoxon: float | None = None  # two-sided p
    effects: dict[str, float] = field(default_factory=dict)  # variant of Cohen's d -> value
    why: tuple[str, ...] = ()


def paired(scores: Sequence[float], baseline: Sequence[float]) -> Difference:
    """Compare scores one by one: paired t-test, Wilcoxon, d_z and d_av.

    d_z divides the mean difference by the deviation of the differences, d_av by the mean of both
    deviations: it does not grow with their correlation.

    Args:
        scores, baseline: (n,) each, of the same seeds or images in the same order.

    Raises:
        InvalidValue: If their lengths differ, or there is none.
    """
    a, b = _numbers(scores), _numbers(baseline)
    if len(a) != len(b):
        raise InvalidValue(f'{len(a)} scores and {len(b)} of the baseline: they are no pairs')
    differences = a - b
    n, mean = len(a), float(differences.mean())
    if n < 2:
        return Difference(mean, n, n, True, why=('one pair: no test, no interval',))
    # Equal but for rounding, which has the size of the scores, not of their differences.
    deviation = _deviation(differences, scale=max(np.abs(a).max(), np.abs(b).max()))
    why, wilcoxon = [], None
    if n < WILCOXON_PAIRS:
        why.append(
            f'no Wilcoxon test: of {n} pairs its smallest p is {2 / 2**n:.3g}, '
            f'{WILCOXON_PAIRS} are needed'
        )
    elif deviation:
        wilcoxon = float(extra('scipy.stats').wilcoxon(differences).pvalue)
    known = dict(bootstrap=bootstrap(differences), wilcoxon=wilcoxon, deviation=deviation)
    effects = {}
    if spread := (_deviation(a) + _deviation(b)) / 2:
        effects['d_av'] = mean / spread
    if not deviation:
        why.append('all differences are equal: no t-test, no d_z')
        return Difference(mean, n, n, True, **known, effects=effects, why=tuple(why))
    effects = {'d_z': mean / deviation, **effects}
    tested = _t_test(mean, deviation / n**0.5, n - 1)
    return Difference(mean, n, n, True, **known, **tested, effects=effects, why=tuple(why))


def unpaired(scores: Sequence[float], baseline: Sequence[float]) -> Difference:
    """Compare two groups of runs: Welch's t-test and d_s (by the pooled deviation).

    Args:
        scores, baseline: (n,) and (m,).

    Raises:
        InvalidValue: If one is empty.
    """
    a, b = _numbers(scores), _numbers(baseline)
    mean = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        why = f'{len(a)} and {len(b)} runs, no pairs: no test, no interval'
        return Difference(mean, len(a), len(b), False, why=(why,))
    drawn = bootstrap(a, b)
    if not _deviation(a) and not _deviation(b):
        why = ('no deviation in either group: no t-test, no d_s',)
        return Difference(mean, len(a), len(b), False, bootstrap=drawn, why=why)
    tested, d_s = welch(mean, (_deviation(a), len(a)), (_deviation(b), len(b)))
    effects = {'d_s': d_s}
    return Difference(mean, len(a), len(b), False, **tested, bootstrap=drawn, effects=effects)


def welch(
    mean: float, one: tuple[float, int], other: tuple[float, int]
) -> tuple[dict[str, object], float]:
    """Welch's t-test and d_s from a difference of means and both (deviation, n).

    Returns:
        ``t``, ``df``, ``p`` and ``interval`` of a :class:`Difference`, and d_s.
    """
    (sd_a, n_a), (sd_b, n_b) = one, other
    parts = sd_a**2 / n_a, sd_b**2 / n_b
    df = sum(parts) ** 2 / (parts[0] ** 2 / (n_a - 1) + parts[1] ** 2 / (n_b - 1))
    pooled = ((n_a - 1) * sd_a**2 + (n_b - 1) * sd_b**2) / (n_a + n_b - 2)
    return _t_test(mean, sum(parts) ** 0.5, df), mean / pooled**0.5


def paired_given_correlation(
    mean: float, deviations: tuple[float, float], n: int, correlation: float
) -> tuple[dict[str, object], float]:
    """Paired t-test and d_z from means and deviations, if the pairs correlate so much.

    Returns:
        ``t``, ``df``, ``p`` and ``interval`` of a :class:`Difference`, and d_z.

    Raises:
        InvalidValue: If the differences had no deviation.
    """
    a, b = deviations
    variance = a**2 + b**2 - 2 * correlation * a * b
    if variance <= 1e-12 * (a**2 + b**2):
        raise InvalidValue(f'correlation={correlation}: the differences would all be equal')
    deviation = variance**0.5
    return _t_test(mean, deviation / n**0.5, n - 1), mean / deviation


def correlation_for(p: float, mean: float, deviations: tuple[float, float], n: int) -> float:
    """The correlation of the pairs at which a paired t-test gives ``p``; beyond -1 to 1: none."""
    a, b = deviations
    return (a**2 + b**2 - (mean / d_z_of(p, n)) ** 2) / (2 * a * b)


def d_z_of(p: float, n: int) -> float:
    """The size of d_z at which a paired t-test over ``n`` pairs gives ``p``, two-sided."""
    return float(extra('scipy.stats').t.isf(p / 2, n - 1)) / n**0.5


def p_of(d_z: float, n: int) -> float:
    """The p, two-sided, of a paired t-test over ``n`` pairs with this d_z."""
    return 2 * float(extra('scipy.stats').t.sf(abs(d_z) * n**0.5, n - 1))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Correct p values for their number, by Holm's step-down; None, no test, does not count."""
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected, largest = list(ps), 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[i] = largest
    return corrected


def bootstrap(
    scores: Sequence[float],
    baseline: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile interval of a mean, or of the difference of two groups' means.

    Args:
        scores: (n,); for pairs their differences.
        baseline: (m,), drawn apart from the scores.
        resamples: How often is drawn, with replacement.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    means = _drawn_means(_numbers(scores), resamples, random)
    if baseline is not None:
        means -= _drawn_means(_numbers(baseline), resamples, random)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean_interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of a mean from the t-distribution; None of fewer than two scores."""
    a = _numbers(scores)
    if len(a) < 2:
        return None
    return _interval(float(a.mean()), _deviation(a) / len(a) ** 0.5, len(a) - 1)


def _drawn_means(values: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    means, step = np.empty(resamples), max(1, BLOCK // len(values))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = values[random.integers(len(values), size=(rows, len(values)))]
        means[start : start + rows] = drawn.mean(axis=1)
    return means


def _t_test(mean: float, error: float, df: float) -> dict[str, object]:
    t = mean / error
    p = 2 * float(extra('scipy.stats').t.sf(abs(t), df))
    return {'t': t, 'df': df, 'p': p, 'interval': _interval(mean, error, df)}


def _interval(mean: float, error: float, df: float) -> tuple[float, float]:
    half = float(extra('scipy.stats').t.isf((1 - LEVEL) / 2, df)) * error
    return mean - half, mean + half


def _deviation(values: np.ndarray, scale: float | None = None) -> float:
    """The sample's; 0 for what differs by the rounding of numbers of this size only."""
    scale = np.abs(values).max() if scale is None else scale
    if len(values) < 2 or np.ptp(values) <= 1e-12 * scale:
        return 0.0
    return float(values.std(ddof=1))


def _numbers(values: Sequence[float]) -> np.ndarray:
    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise InvalidValue(f'scores must be finite numbers in one row, at least one: {values!r}')
    return numbers
