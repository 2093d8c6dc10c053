"""Maps of several models over the same images: pictures, figures, IoU."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.analysis.cam import pictures
from mmattn.analysis.cam.iou import Interval, bootstrap, chance, iou, mask_file, masks_of
from mmattn.analysis.cam.methods import METHODS
from mmattn.analysis.cam.network import METHOD_OF, Network, View
from mmattn.analysis.cam.targets import Target, at_same_place, by_class
from mmattn.utils.errors import UserError
from mmattn.utils.files import write_whole

MOST = 4  # maps of an image


@dataclass(frozen=True)
class Setting:
    """What is explained.

    Args:
        method: Of :data:`mmattn.analysis.cam.methods.METHODS`; default that of the toolbox,
            :data:`mmattn.analysis.cam.network.METHOD_OF`.
        classes: Names; without any what the first model finds.
        most: Maps of an image; default 1 for classifiers, 4 for others.
        score: Detections below it are passed over.
        per_detection: One map for each detection, not for each class.
        iou: Measure against the ground truth: of detectors and segmenters every class of it.
        masks: Folder of masks, PNG, not 0 on the object: ground truth for any image.
    """

    method: str | None = None
    classes: tuple[str, ...] = ()
    most: int | None = None
    score: float = 0.3
    per_detection: bool = False
    iou: bool = False
    masks: Path | None = None


@dataclass
class Report:
    """What was found: figures of every image and, of an IoU run, of every model."""

    images: list[dict[str, Any]] = field(default_factory=list)
    iou: dict[str, dict[str, Any]] = field(default_factory=dict)
    differences: dict[str, Interval] = field(default_factory=dict)
    chance: float | None = None  # the IoU of pixels drawn at random


def look(
    networks: dict[str, Network], image: Path | Mapping, setting: Setting
) -> tuple[dict[str, View], list[list[np.ndarray | None]]]:
    """Views of one image by every network, and for each the ground truth of its maps.

    Args:
        networks: Name -> network; the first one's finds are explained by all.
        image: A file, or what a data set has of one: with ground truth.
    """
    views: dict[str, View] = {}
    outlines: list[list[np.ndarray | None]] = []
    wanted: list[Target] | None = None
    for name, network in networks.items():
        packed = network.pack(image)
        truth = _truth(network, packed, image, setting)

        def choose(
            found: list[Target], network: Network = network, truth: dict = truth
        ) -> list[Target]:
            nonlocal wanted
            if wanted is None:
                wanted = _wanted(network, found, truth, setting)
            return [_find(one, found, network, setting) for one in wanted]

        views[name] = network.explain(
            packed, METHODS[setting.method or METHOD_OF[network.scope]], choose
        )
        shown = views[name].explanations
        outlines.append([truth.get(one.label, truth.get(None)) for one in shown])
    return views, outlines


def _truth(
    network: Network, packed: dict, image: Path | Mapping, setting: Setting
) -> dict[int | None, np.ndarray]:
    """Masks by class; None stands for any."""
    if setting.masks is None:
        found = masks_of(packed['data_samples'], network.picture_size(packed))
        return {label: mask for label, mask in found.items() if label < len(network.names)}
    # Through the same pipeline, as a crop of the image is one of the mask.
    mask = network.picture(network.pack(mask_file(setting.masks, _path_of(image))))
    return {None: mask.max(2) > mask.max() / 2}


def _path_of(image: Path | Mapping) -> str | None:
    return str(image) if isinstance(image, Path) else image.get('img_path')


def _wanted(network: Network, found: list[Target], truth: dict, setting: Setting) -> list[Target]:
    labels = network.labels(setting.classes)
    if setting.iou and None not in truth:
        return [Target(label, 0.0, None) for label in truth if not labels or label in labels]
    found = _sorted(found, network, setting)
    if setting.per_detection:
        found = [one for one in found if not labels or one.label in labels]
    elif labels:
        found = [Target(label, 0.0, None) for label in labels]
    return found[: setting.most or (1 if network.scope == 'mmpretrain' and not labels else MOST)]


def _sorted(found: list[Target], network: Network, setting: Setting) -> list[Target]:
    if network.scope == 'mmdet':
        found = [one for one in found if one.score >= setting.score]
        return found if setting.per_detection else by_class(found)
    return found


def _find(one: Target, found: list[Target], network: Network, setting: Setting) -> Target:
    """What a network found of what is wanted; else a target without a value."""
    found = _sorted(found, network, setting)
    if setting.per_detection:
        same = at_same_place(one, found)
    else:
        same = next((other for other in found if other.label == one.label), None)
    return same or Target(one.label, 0.0, None)


def run(
    networks: dict[str, Network],
    images: Sequence[Path | Mapping],
    setting: Setting,
    out: Path,
    bar: Callable[[Iterable], Iterable] = iter,
) -> Report:
    """Look at images, write a PNG of each, a contact sheet of the first, and ``cam.json``.

    Args:
        networks: Name -> network; the first is what the others are compared with.
        images: Files, or what a data set has of them.
        out: Folder.
        bar: Shows the progress over the images.

    Raises:
        UserError: If IoU is wanted of images without ground truth.
    """
    report, sheet, first = Report(), [], next(iter(networks.values()))
    names, method = first.names, setting.method or METHOD_OF[first.scope]
    setting = replace(setting, method=method)
    scores: dict[str, list[float]] = {name: [] for name in networks}
    lucky: list[float] = []
    for number, image in enumerate(bar(images)):
        views, outlines = look(networks, image, setting)
        file = f'{number:05d}_{Path(_path_of(image) or "image").stem}.png'
        sides = networks if len(networks) > 1 else ['']
        rows = [
            # No wider than a page: an IoU run has a map of each class of the image.
            pictures.tiles_of(view, names, masks, side)[: 1 + (setting.most or MOST)]
            for view, masks, side in zip(views.values(), outlines, sides, strict=True)
        ]
        # Of an IoU run the figures matter.
        drawn = number < pictures.SHEET or not setting.iou
        if drawn:
            pictures.draw(out / file, rows)
        if number < pictures.SHEET:
            sheet.append([row[min(1, len(row) - 1)] for row in rows])
        entry = dict(image=_path_of(image), file=file if drawn else None, maps=[])
        for (name, view), masks in zip(views.items(), outlines, strict=True):
            found = [dict(network=name, **_figures(one, names)) for one in view.explanations]
            if setting.iou and found:
                for one, figures, mask in zip(view.explanations, found, masks, strict=True):
                    figures['iou'] = iou(one.cam, mask)
                scores[name].append(float(np.mean([figures['iou'] for figures in found])))
            entry['maps'] += found
        if setting.iou:
            lucky += [chance(mask) for mask in outlines[0]]
        report.images.append(entry)
    pictures.draw(out / 'sheet.png', _sheet(sheet, list(networks)))
    if setting.iou:
        _measure(report, scores, lucky)
    sources = {name: network.source for name, network in networks.items()}
    content = dict(setting=asdict(setting), networks=sources, **asdict(report))
    write_whole(out / 'cam.json', json.dumps(content, indent=1, default=str) + '\n')
    return report


def _figures(one: Any, names: Sequence[str]) -> dict[str, Any]:
    name = names[one.label] if one.label < len(names) else str(one.label)
    return dict({'class': name}, score=one.score, boxes=one.boxes)


def _measure(report: Report, scores: dict[str, list[float]], lucky: list[float]) -> None:
    first, *others = scores
    if not scores[first]:
        raise UserError(
            '--iou: no image has boxes, masks or a map of labels (of the classes asked for). A '
            "classifier's data has none: --masks FOLDER names a mask of each image."
        )
    for name, values in scores.items():
        maps = [m for entry in report.images for m in entry['maps'] if m['network'] == name]
        missed = sum(one['score'] is None for one in maps)
        figures = asdict(bootstrap(values))
        report.iou[name] = dict(figures, images=len(values), maps=len(maps), not_found=missed)
    for name in others:
        paired = np.subtract(scores[name], scores[first])
        report.differences[name] = bootstrap(paired)
    report.chance = float(np.mean(lucky))


def _sheet(images: list[list[pictures.Tile]], names: list[str]) -> list[list[pictures.Tile]]:
    """Rows of the first maps of the first images; several models' are side by side."""
    if len(names) > 1:
        images = [
            [
                replace(t, title=f'{name}\n{t.title}', side='')
                for t, name in zip(tiles, names, strict=True)
            ]
            for tiles in images
        ]
    step = max(1, pictures.COLUMNS // len(names))
    return [sum(images[i : i + step], []) for i in range(0, len(images), step)]
