"""The work of tools/analysis_tools/grad_cam.py."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from mmattn.analysis.cam.network import METHOD_OF, Network
from mmattn.analysis.cam.run import Report, Setting, run
from mmattn.analysis.networks import usable_device
from mmattn.analysis.tables import Section, render_sections
from mmattn.analysis.trained import Described, list_images, names_of
from mmattn.engine.data_root import set_data_root
from mmattn.engine.prepare import prepare
from mmattn.utils.errors import UserError


def explain(
    models: Sequence[Sequence[str]],
    image: str | None = None,
    *,
    names: Sequence[str] | None = None,
    split: str = 'test',
    layer: str | None = None,
    number: int | None = None,
    seed: int = 0,
    data_root: str | None = None,
    device: str | None = None,
    out: str | None = None,
    **asked: object,
) -> Report:
    """Explain images of a data set, or ``image``, by one or several models, and say the outcome.

    Args:
        models: Each ``CONFIG CHECKPOINT [KEY=VALUE ...]``; the first one's data is looked at.
        names: What to call them.
        number: Of images at most; default 12 of the data set, with IoU 100, and all of a folder.
        asked: See :class:`mmattn.analysis.cam.run.Setting`.

    Raises:
        UserError: For anything the user can mend.
    """
    console, device, setting = Console(stderr=True), usable_device(device), Setting(**asked)
    if setting.masks is not None and not setting.masks.is_dir():
        raise UserError(f'--masks {str(setting.masks)!r} is no folder.')
    described = [Described.of(words) for words in models]
    cfgs = []
    for one in described:
        if one.checkpoint is None:
            raise UserError(
                f'{one.config}: no checkpoint is given; random weights explain nothing.'
            )
        steps = [partial(_use, split=split)]
        if data_root and not cfgs:
            steps.append(partial(set_data_root, data_root=data_root))
        cfg, notes = prepare(one.config, one.options, steps)
        cfgs.append(cfg)
        for note in notes:
            console.print(f'note: {note}')
    scopes = [cfg.get('default_scope') for cfg in cfgs]
    if len(set(scopes)) > 1:
        raise UserError(f'--beside: models of one toolbox only, not of {", ".join(scopes)}.')
    if setting.iou and scopes[0] == 'mmpretrain' and setting.masks is None:
        raise UserError(
            "--iou: a classifier's data set has neither boxes nor masks; --masks DIR names a mask "
            'of each image.'
        )
    networks = {}
    for name, cfg, one in zip(names or names_of(described), cfgs, described, strict=True):
        with console.status(f'building {name}'):
            networks[name] = Network(cfg, one.checkpoint, layer, device)
        for note in networks[name].notes:
            console.print(f'note: {name}: {note}')
    first, *others = networks.values()
    if any(other.names != first.names for other in others):
        raise UserError('--beside: the models are of different classes.')
    first.labels(setting.classes)
    if image is None:
        images = first.trained.test_images(number or (100 if setting.iou else 12), seed)
    else:
        images = list_images([image])[:number]
    method = setting.method or METHOD_OF[scopes[0]]
    folder = Path(out or Path('work_dirs', Path(described[0].config).stem, method))
    bar = partial(track, description='looking', console=console, disable=not console.is_terminal)
    report = run(networks, images, setting, folder, bar)
    if setting.iou:
        print(_table(report, f'{method} of {first.layer.name}'))
    print(f'pictures, sheet.png and cam.json: {folder}')
    return report


def _use(cfg: dict, split: str) -> None:
    """Let the images be those of a split."""
    if not cfg.get(f'{split}_dataloader'):
        raise UserError(f'the config has no {split}_dataloader: no pipeline, no images.')
    cfg.test_dataloader = cfg[f'{split}_dataloader']


def _table(report: Report, what: str) -> str:
    rows = []
    for name, one in report.iou.items():
        rows.append(
            {
                'model': name,
                'IoU': f'{one["mean"]:.3f}',
                'interval': f'{one["low"]:.3f}-{one["high"]:.3f}',
                **{key.replace('_', ' '): str(one[key]) for key in ('images', 'maps', 'not_found')},
            }
        )
        if name in report.differences:
            difference = report.differences[name]
            rows[-1]['difference'] = f'{difference.mean:+.3f}'
            rows[-1]['its interval'] = f'{difference.low:+.3f} to {difference.high:+.3f}'
    notes = [
        '95 % intervals by bootstrap over images; the difference is paired, to the first model.',
        f'Pixels drawn at random: about {report.chance:.3f}. Half of a picture is above the '
        'median, so that an object smaller than it cannot reach 1.',
    ]
    title = f'IoU of {what}, binarised at the median, with the objects'
    return render_sections([Section(title, rows, notes)], 'text')
