"""The work of tools/analysis_tools/grad_cam.py."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmattn.analysis.cam.images import files_of, records_of
from mmattn.analysis.cam.network import Network, labels_of
from mmattn.analysis.cam.run import Report, Setting, run
from mmattn.analysis.networks import usable_device
from mmattn.engine.data_check import check_data
from mmattn.engine.data_root import set_data_root
from mmattn.engine.machine import adapt_to_machine
from mmattn.engine.prepare import prepare
from mmattn.utils.errors import UserError


def explain(
    config: str,
    checkpoint: str,
    image: str | None = None,
    *,
    split: str = 'test',
    beside: Sequence[tuple[str, str]] = (),
    layer: str = 'backbone[-1]',
    images: int | None = None,
    seed: int = 0,
    masks: str | None = None,
    data_root: str | None = None,
    device: str | None = None,
    out: str | None = None,
    cfg_options: Sequence[str] = (),
    classes: Sequence[str] = (),
    **setting: object,
) -> Report:
    """Explain images of a data set, or ``image``, by one or several models, and say the outcome.

    Args:
        beside: Configs and checkpoints of further models.
        setting: See :class:`mmattn.analysis.cam.run.Setting`.
    """
    console = Console(stderr=True)
    device = usable_device(device)
    if masks is not None and not Path(masks).is_dir():
        raise UserError(f'--masks {masks!r} is no folder.')
    asked = Setting(masks=masks and Path(masks), classes=tuple(classes), **setting)
    pairs = [(config, checkpoint), *beside]
    steps = [
        partial(_require, split=split),
        data_root and partial(set_data_root, data_root=data_root),
        image is None and partial(check_data, loaders=(split,)),
        adapt_to_machine,
    ]
    prepared = [prepare(name, cfg_options, steps) for name, _ in pairs]
    cfgs = [cfg for cfg, _ in prepared]
    scopes = [cfg.get('default_scope') for cfg in cfgs]
    if len(set(scopes)) > 1:
        raise UserError(f'--beside: models of one toolbox only, not of {", ".join(scopes)}.')
    if asked.iou and scopes[0] == 'mmpretrain' and masks is None:
        raise UserError(
            "--iou: a classifier's data set has neither boxes nor masks; --masks DIR names a mask "
            'of each image.'
        )
    names = labels_of(cfgs, *zip(*pairs, strict=True))
    networks = {}
    for name, (cfg, notes), (_, file) in zip(names, prepared, pairs, strict=True):
        networks[name] = Network(cfg, file, layer, device)
        for note in dict.fromkeys([*notes, *networks[name].notes]):
            console.print(f'note: {name}: {note}', highlight=False)
    first, *others = networks.values()
    for other in others:
        if other.names != first.names:
            raise UserError('--beside: the models are of different classes.')
    first.labels(asked.classes)
    if image is None:
        count = images or (100 if asked.iou else 12)
        records = records_of(cfgs[0], split, count, seed)
    else:
        records = files_of(image)
    folder = Path(out or Path('work_dirs', Path(config).stem, asked.method))
    bar = partial(track, description='looking', console=console, disable=not console.is_terminal)
    report = run(networks, records, asked, folder, image is None, bar)
    if asked.iou:
        _print(report)
    print(f'{len(records)} pictures, sheet.png and cam.json: {folder}')
    return report


def _require(cfg: dict, split: str) -> None:
    for name in dict.fromkeys((split, 'test')):
        if not cfg.get(f'{name}_dataloader'):
            raise UserError(f'the config has no {name}_dataloader: no pipeline, no images.')


def _print(report: Report) -> None:
    table = Table(title='IoU of the maps, binarised at their median, with the objects')
    for column in ('model', 'IoU', '95 % interval', 'images', 'maps', 'not found', 'difference'):
        table.add_column(column, justify='left' if column == 'model' else 'right')
    for name, one in report.iou.items():
        difference = report.differences.get(name)
        shown = difference and (
            f'{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})'
        )
        counts = [str(one[key]) for key in ('images', 'maps', 'not_found')]
        between = f'{one["low"]:.3f} to {one["high"]:.3f}'
        table.add_row(name, f'{one["mean"]:.3f}', between, *counts, shown or '')
    Console().print(table)
    print(f'Intervals: bootstrap over images. Pixels drawn at random: about {report.chance:.3f}.')
