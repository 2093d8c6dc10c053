"""What each attention costs in a config's network, measured here: ``python -m mmattn advise``."""

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmattn.analysis.complexity import Complexity, measure
from mmattn.analysis.evidence import TASKS, kept_runs, published, task_of
from mmattn.analysis.networks import PLAIN, Network, Setting, variants
from mmattn.analysis.tables import MIB, Section, render_sections
from mmattn.analysis.throughput import Timing, alternate, release_memory, saved_bytes
from mmattn.attention.names import attention_names, find_attention
from mmattn.insertion.patterns import KEYS
from mmattn.utils.errors import InvalidValue, UserError, one_line
from mmattn.utils.walk import type_name

# Height and width by toolbox: a share changes little with the size, the time does.
SIZES = {'mmdet': (320, 512), 'mmseg': (256, 512)}
# Seconds of timing that a network takes, with three rounds at least.
SECONDS = 2.0
# What the ranks are of, each better where it is smaller.
RANKED = ('slower', 'params', 'flops', 'saved')


@dataclass(frozen=True)
class Cost:
    """What an attention adds to the plain network."""

    name: str
    added_params: int
    added_flops: int
    added_saved: int  # bytes that a training step keeps for its backward pass
    params: float  # shares of the plain network's
    flops: float
    saved: float
    speed: Timing  # images a second in inference, relative to the plain network

    @property
    def slower(self) -> float:
        """Share of the images a second that it takes away."""
        return 1 - self.speed.median

    def beyond(self, budget: float) -> list[str]:
        """What of it is more than a share of the plain network."""
        words = {'slower': 'slower', 'params': 'parameters', 'flops': 'multiply-adds'}
        return [
            f'{getattr(self, key):+.1%} {word}'
            for key, word in words.items()
            if getattr(self, key) > budget
        ]


def share(text: str) -> float:
    """'2%' or '0.02' -> 0.02.

    Raises:
        ValueError: If it is neither.
    """
    try:
        value = float(text.removesuffix('%')) / (100 if text.endswith('%') else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1 and not (text.endswith('%') and value >= 0):
        raise InvalidValue(f'--budget {text!r}: a share such as 2% or 0.02')
    return value


def with_place(cfg: Config) -> Config:
    """The config with one attention to replace, stock backbones within ``mmattn.AnyBackbone``.

    Of an attention that it has, where it goes is kept, and warm_start.

    Raises:
        UserError: If there is no backbone, or a list of attentions in it.
    """
    cfg = copy.deepcopy(cfg)
    backbone = (cfg.get('model') or {}).get('backbone')
    if not backbone:
        raise UserError('the config has no model.backbone that attention could go into.')
    if PLAIN not in variants(cfg):
        stock = {key: value for key, value in backbone.items() if key != 'type'}
        cfg.model.backbone = dict(type='mmattn.AnyBackbone', network=backbone.type, **stock)
    own = cfg.model.backbone.get('attention') or {}
    if isinstance(own, (list, tuple)):
        raise UserError(
            f'the config has a list of {len(own)} attentions; choose one place for all with '
            '--cfg-options model.backbone.attention=None'
        )
    kept = {key: own[key] for key in (*KEYS, 'warm_start') if key in own}
    # Any type: it is replaced.
    cfg.model.backbone.attention = dict(kept, type='SE')
    return cfg


def costs(
    cfg: Config,
    names: Sequence[str],
    setting: Setting,
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> tuple[list[Cost], dict[str, str]]:
    """Measure attentions in a config, each in turns with the plain network.

    Args:
        cfg: As :func:`with_place` gives it.
        names: Attentions.
        setting: How the networks run.
        track: May show the progress.

    Returns:
        The costs of those that the network takes, and why the others do not go into it.
    """
    found = variants(cfg, names)
    plain = Network(found[PLAIN], setting)
    counted, kept = measure(found[PLAIN], setting.size), _saved(plain)
    costs, refused = [], {}
    for name in track(names):
        one = found[find_attention(name).__name__]
        try:
            network = Network(one, setting)
            complexity = measure(one, setting.size)
            saved = _saved(network)
            calls = {PLAIN: plain.inference, name: network.inference}
            timings = alternate(calls, rounds=10, warm_up=1, limit=SECONDS)
        except (UserError, ValueError, RuntimeError) as error:
            refused[name] = _reason(error)
            continue
        speed = timings[name].speed(timings[PLAIN])
        costs.append(_cost(name, (complexity, saved), (counted, kept), speed))
        del network, calls
        release_memory()
    return costs, refused


def _saved(network: Network) -> int:
    return saved_bytes(network.loss, network.model.parameters())


def _reason(error: Exception) -> str:
    text = str(error) if isinstance(error, UserError) else one_line(error)
    # mmengine says first of which class it is, and where that is.
    return ' '.join(text.partition('.py: ')[2].split() or text.split())


def _cost(
    name: str, own: tuple[Complexity, int], plain: tuple[Complexity, int], speed: Timing
) -> Cost:
    pairs = [
        (own[0].params, plain[0].params),
        (own[0].flops + own[0].left_out[0], plain[0].flops + plain[0].left_out[0]),
        (own[1], plain[1]),
    ]
    added = [one - other for one, other in pairs]
    shares = [more / max(other, 1) for more, (_, other) in zip(added, pairs, strict=True)]
    return Cost(name, *added, *shares, speed)


def ranked(costs: Sequence[Cost]) -> list[tuple[float, Cost]]:
    """Mean rank over slow-down, parameters, multiply-adds and memory; the least first."""
    ranks = []
    for cost in costs:
        places = [
            sum(getattr(other, key) < getattr(cost, key) for other in costs)
            + (1 + sum(getattr(other, key) == getattr(cost, key) for other in costs)) / 2
            for key in RANKED
        ]
        ranks.append((sum(places) / len(places), cost))
    return sorted(ranks, key=lambda pair: (pair[0], pair[1].name))


def sections(
    costs: Sequence[Cost], refused: dict[str, str], budget: float | None, notes: Sequence[str]
) -> list[Section]:
    """The ranking, and what is not in it with the reasons."""
    out = {} if budget is None else {c.name: c.beyond(budget) for c in costs if c.beyond(budget)}
    rows = [
        {
            'attention': cost.name,
            'mean rank': f'{rank:.2f}',
            'speed': f'{cost.speed.median:.3f}',
            'quartiles': f'{cost.speed.low:.3f}-{cost.speed.high:.3f}',
            'params (+k)': f'{cost.added_params / 1e3:.1f}',
            'params (+%)': f'{cost.params:.2%}',
            'multiply-adds (+M)': f'{cost.added_flops / 1e6:.2f}',
            'multiply-adds (+%)': f'{cost.flops:.2%}',
            'saved (+MiB)': f'{cost.added_saved / MIB:.1f}',
            'saved (+%)': f'{cost.saved:.1%}',
        }
        for rank, cost in ranked([cost for cost in costs if cost.name not in out])
    ]
    reasons = {name: f'beyond the budget: {", ".join(over)}' for name, over in out.items()}
    reasons |= {name: f'does not go into it: {why}' for name, why in refused.items()}
    parts = [
        Section(
            'What attention costs',
            rows,
            [
                'mean rank: of speed, parameters, multiply-adds and memory; it says nothing of '
                'accuracy.',
                "speed: images a second in inference, to the plain network's in the same round; "
                'medians and quartiles.',
                'saved: activations that a training step keeps for its backward pass.',
                *notes,
            ],
        )
    ]
    if reasons:
        count = f'{len(out)} beyond the budget, {len(refused)} refused'
        left_out = [{'attention': name, 'left out': why} for name, why in sorted(reasons.items())]
        parts.append(Section(f'Left out: {count}', left_out, left=2))
    return parts


def plot(costs: Sequence[Cost], path: str | Path) -> None:
    """Slow-down against parameters and against memory, a point for each attention."""
    from mmattn.analysis.plots import PAGE, figure

    path = Path(path)
    with figure(path, 1, 2, figsize=(PAGE, PAGE / 2)) as (_, axes):
        labels = ('parameters added (%)', 'activations of a training step added (%)')
        for axis, key, label in zip(axes[0], ('params', 'saved'), labels, strict=True):
            x = [100 * getattr(cost, key) for cost in costs]
            y = [100 * cost.slower for cost in costs]
            low = [100 * max(0, cost.speed.high - cost.speed.median) for cost in costs]
            high = [100 * max(0, cost.speed.median - cost.speed.low) for cost in costs]
            axis.errorbar(x, y, [low, high], fmt='o', markersize=3, elinewidth=0.5)
            for cost, at in zip(costs, zip(x, y, strict=True), strict=True):
                axis.annotate(cost.name, at, (2, 2), textcoords='offset points', fontsize=5)
            axis.set_xlabel(label)
            axis.set_ylabel('slower in inference (%)')
        axes[0, 0].set_xscale('symlog', linthresh=0.1)


def advise(
    cfg: Config,
    names: Sequence[str] = (),
    budget: float | None = None,
    task: str | None = None,
    setting: Setting | None = None,
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> tuple[list[Cost], list[Section]]:
    """All attentions in a config by what they cost, and what is known of them.

    Args:
        cfg: A config of mmdet, mmseg or mmpretrain.
        names: Attentions; default all.
        budget: Leave out what slows inference, or adds parameters or multiply-adds, by more
            than this share of the plain network.
        task: Whose published figures are shown; default the config's.
        setting: How the networks run; default two images of SIZES.
        track: May show the progress.

    Raises:
        UserError: If the config has no place for attention, or no attention goes into it.
    """
    if task not in (None, *TASKS):
        raise InvalidValue(f'--task {task!r}: one of {", ".join(TASKS)}')
    names = list(
        dict.fromkeys(find_attention(name).__name__ for name in names or attention_names())
    )
    setting = setting or default_setting(cfg)
    measured, refused = costs(with_place(cfg), names, setting, track=track)
    if not measured:
        raise UserError(
            f'no attention goes into {type_name(cfg.model.backbone)}: '
            + '; '.join(f'{name}: {why}' for name, why in list(refused.items())[:3])
        )
    task = task or task_of(cfg)
    height, width = setting.size or (0, 0)
    where = [f'images of {height} x {width}.'] if height else []
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if setting.device == 'cpu' and load > cores:
        where.append(
            f'the machine is busy, with a load of {load:.0f} on {cores} cores: measure again.'
        )
    parts = sections(measured, refused, budget, [*where, *setting.describe()])
    ours = kept_runs(task, names)
    return measured, [*parts, published(cfg, task, names), *([ours] if ours else [])]


def default_setting(cfg: Config, batch_size: int = 2, **options) -> Setting:
    """Two images of a moderate size; ``options`` are other fields of the setting."""
    size = options.pop('size', None) or SIZES.get(cfg.get('default_scope'))
    return Setting(batch_size, tuple(size) if size else None, **options)


def render(parts: Sequence[Section], form: str) -> str:
    """The sections as 'text', 'markdown' or 'csv'."""
    return render_sections(parts, form)
