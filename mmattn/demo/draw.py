"""Pictures of ground truth beside prediction, for the three tasks."""

from __future__ import annotations

import colorsys
import copy
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image, ImageDraw, ImageFont

# Width of one panel in pixels; small images are enlarged to it.
PANEL = 480
SCORE_THRESHOLD = 0.5
PAPER, INK = (250, 250, 250), (30, 30, 30)
GOOD, BAD = (20, 130, 60), (190, 40, 40)
LINE = 22
# Label of boxes that are neither learnt nor evaluated.
IGNORED, GREY = -1, (128, 128, 128)


def draw_predictions(cfg: Config, checkpoint: str, out_dir: str, num: int = 8) -> list[str]:
    """Writes pictures of predictions beside the ground truth.

    Args:
        cfg: the config that the checkpoint was trained with; its val_dataloader says on what.
        checkpoint: file of the trained weights; they must fit the model exactly.
        out_dir: where the PNG files go.
        num: how many pictures, spread evenly over the validation images.

    Returns:
        The paths of the files.

    Raises:
        ValueError: num is below 1, the config has no val_dataloader, or the model predicts
            neither boxes, label maps nor classes.
    """
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DATASETS, init_default_scope

    if num < 1:
        raise ValueError(f'num is {num}; at least one picture must be drawn')
    if not cfg.get('val_dataloader'):
        raise ValueError('the config has no val_dataloader: no images to draw predictions on')
    cfg = copy.deepcopy(cfg)
    init_default_scope(cfg['default_scope'])
    model = _load_model(cfg, checkpoint)
    dataset = DATASETS.build(cfg['val_dataloader']['dataset'])
    classes = dataset.metainfo.get('classes') or ()
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, num).round().astype(int)):
        info = dataset.get_data_info(int(index))
        with torch.no_grad():
            sample = model.test_step(pseudo_collate([dataset[int(index)]]))[0]
        picture = _picture(_image(info), info, sample, classes)
        paths.append(str(folder / f'prediction_{index:05d}.png'))
        picture.save(paths[-1])
    return paths


def _load_model(cfg: Config, checkpoint: str) -> object:
    from mmengine.device import get_device
    from mmengine.registry import MODELS
    from mmengine.runner import load_checkpoint

    if cfg.get('data_preprocessor'):
        cfg['model'].setdefault('data_preprocessor', cfg['data_preprocessor'])
    model = MODELS.build(cfg['model'])
    load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    return model.to(get_device()).eval()


def _image(info: dict) -> Image.Image:
    if 'img' in info:
        return Image.fromarray(np.asarray(info['img'], np.uint8))
    with Image.open(info['img_path']) as image:
        return image.convert('RGB')


def _picture(image: Image.Image, info: dict, sample: object, classes: tuple) -> Image.Image:
    if 'pred_instances' in sample:
        return _detection(image, info, sample, classes)
    if 'pred_sem_seg' in sample:
        return _segmentation(image, sample, classes)
    if 'pred_score' in sample:
        return _classification(image, sample, classes)
    raise ValueError(
        f'cannot draw a {type(sample).__name__} with {", ".join(sample.keys())}; '
        'known are pred_instances, pred_sem_seg and pred_score'
    )


def _detection(image: Image.Image, info: dict, sample: object, classes: tuple) -> Image.Image:
    found = sample.pred_instances.cpu()
    # Outlines only beside predicted ones: files may hold masks that a box detector never sees.
    truth = []
    for item in info.get('instances', []):
        label = IGNORED if item.get('ignore_flag') else item['bbox_label']
        truth.append((item['bbox'], label, None, _polygons(item.get('mask'), 'masks' in found)))
    kept = [i for i, score in enumerate(found.scores) if score >= SCORE_THRESHOLD]
    predicted = [
        (found.bboxes[i].tolist(), int(found.labels[i]), float(found.scores[i]), []) for i in kept
    ]
    masks = [np.asarray(found.masks[i], bool) for i in kept] if 'masks' in found else []
    title = f'prediction (score >= {SCORE_THRESHOLD})'
    return _side_by_side(
        ('ground truth', _boxes(image, truth, classes)),
        (title, _boxes(_shade_masks(image, masks, predicted), predicted, classes)),
    )


def _polygons(mask: object, wanted: bool) -> list[np.ndarray]:
    if not wanted or not isinstance(mask, list):
        return []
    return [np.asarray(ring, float).reshape(-1, 2) for ring in mask]


def _shade_masks(image: Image.Image, masks: list, items: list) -> Image.Image:
    if not masks:
        return image
    pixels = np.asarray(image, np.float64).copy()
    for mask, (_, label, _, _) in zip(masks, items, strict=True):
        pixels[mask] = 0.5 * pixels[mask] + 0.5 * np.array(_colour(label))
    return Image.fromarray(pixels.astype(np.uint8))


def _boxes(image: Image.Image, items: list, classes: tuple) -> Image.Image:
    panel, factor = _enlarged(image)
    draw = ImageDraw.Draw(panel)
    font = _font(14)
    for box, label, score, rings in items:
        colour = _colour(label)
        for ring in rings:
            draw.polygon([tuple(point) for point in ring * factor], outline=colour, width=2)
        x1, y1, x2, y2 = (value * factor for value in box)
        # Predicted boxes may touch the border; a rectangle without an extent cannot be drawn.
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=3)
        text = _name(classes, label) + ('' if score is None else f' {score:.2f}')
        width = draw.textlength(text, font=font) + 8
        left = min(max(x1, 0), max(panel.width - width, 0))
        top = y1 - 20 if y1 >= 20 else y1
        draw.rectangle((left, top, left + width, top + 20), fill=colour)
        draw.text((left + 4, top + 2), text, fill=_readable_on(colour), font=font)
    return panel


def _segmentation(image: Image.Image, sample: object, classes: tuple) -> Image.Image:
    predicted = sample.pred_sem_seg.data[0].cpu().numpy()
    panels, present = [], set()
    truth = sample.gt_sem_seg.data[0].cpu().numpy() if 'gt_sem_seg' in sample else None
    for title, labels in (('ground truth', truth), ('prediction', predicted)):
        if labels is None:
            continue
        valid = labels != 255
        present |= set(np.unique(labels[valid]).tolist())
        base = np.asarray(image.resize(labels.shape[::-1]), np.float64)
        colours = np.array([_colour(label) for label in range(256)], np.float64)
        mixed = np.where(valid[..., None], 0.4 * base + 0.6 * colours[labels % 256], base * 0.5)
        panels.append((title, _enlarged(Image.fromarray(mixed.astype(np.uint8)))[0]))
    plain = ('image', _enlarged(image)[0])
    return _with_legend(_side_by_side(plain, *panels), sorted(present), classes)


def _with_legend(picture: Image.Image, labels: list[int], classes: tuple) -> Image.Image:
    font = _font(14)
    spots, x, y = [], 10, 6
    for label in labels:
        text = _name(classes, label)
        width = 26 + int(font.getlength(text)) + 18
        if x + width > picture.width and x > 10:
            x, y = 10, y + LINE
        spots.append((x, y, label, text))
        x += width
    canvas = Image.new('RGB', (picture.width, picture.height + y + LINE + 4), PAPER)
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    for x, y, label, text in spots:
        top = picture.height + y
        draw.rectangle((x, top, x + 16, top + 16), fill=_colour(label), outline=INK)
        draw.text((x + 24, top), text, fill=INK, font=font)
    return canvas


def _classification(image: Image.Image, sample: object, classes: tuple) -> Image.Image:
    scores = sample.pred_score.cpu()
    best = scores.topk(min(3, len(scores)))
    truth = [int(label) for label in sample.gt_label] if 'gt_label' in sample else []
    lines = [('ground truth', True)]
    lines += [(', '.join(_name(classes, label) for label in truth) or 'unknown', False)]
    lines += [('', False), ('prediction', True)]
    panel, _ = _enlarged(image)
    canvas = Image.new('RGB', (panel.width * 2, max(panel.height, 12 * LINE)), PAPER)
    canvas.paste(panel)
    draw = ImageDraw.Draw(canvas)
    left, top, room = panel.width + 16, 12, panel.width - 32
    for text, heading in lines:
        font = _font(15, bold=heading)
        draw.text((left, top), _fit(text, font, room), fill=INK, font=font)
        top += LINE
    for rank, (score, label) in enumerate(zip(best.values, best.indices, strict=True)):
        colour = INK
        if rank == 0 and truth:
            colour = GOOD if int(label) in truth else BAD
        font = _font(15)
        text = _fit(_name(classes, int(label)), font, room - 60)
        draw.text((left, top), text, fill=colour, font=font)
        draw.text((left + room - 50, top), f'{100 * score:.1f} %', fill=colour, font=font)
        bar = top + LINE - 2
        draw.rectangle((left, bar, left + room, bar + 5), fill=(225, 225, 225))
        draw.rectangle((left, bar, left + int(room * float(score)), bar + 5), fill=colour)
        top += LINE + 12
    return canvas


def _side_by_side(*panels: tuple[str, Image.Image]) -> Image.Image:
    gap, strip = 8, 28
    width = sum(panel.width for _, panel in panels) + gap * (len(panels) - 1)
    height = max(panel.height for _, panel in panels) + strip
    canvas = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    left = 0
    for title, panel in panels:
        draw.text((left + 6, 5), title, fill=INK, font=_font(15, bold=True))
        canvas.paste(panel, (left, strip))
        left += panel.width + gap
    return canvas


def _enlarged(image: Image.Image) -> tuple[Image.Image, float]:
    """The image at panel width, unless it is larger already, and the factor."""
    factor = max(1.0, PANEL / image.width)
    size = round(image.width * factor), round(image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC), factor


def _colour(label: int) -> tuple[int, int, int]:
    """A colour for each label; neighbouring labels differ clearly."""
    if label == IGNORED:
        return GREY
    hue = (0.58 + label * 0.618034) % 1
    value = (0.95, 0.75)[label // 5 % 2]
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.85, value))


def _readable_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return INK if luminance > 140 else PAPER


def _name(classes: tuple, label: int) -> str:
    if label == IGNORED:
        return 'ignored'
    # ImageNet's names are lists of synonyms.
    return str(classes[label]).split(',')[0] if label < len(classes) else f'class {label}'


def _fit(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + '...') > room:
        text = text[:-1]
    return text + '...'


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    import matplotlib

    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', name)), size)
