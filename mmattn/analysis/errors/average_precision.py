"""COCO's AP of each class, of all objects and of small, medium and large ones."""

from collections.abc import Sequence

import numpy as np

from mmattn.analysis.errors.boxes import Image
from mmattn.analysis.extra import extra

# Name -> its part of the precisions, (IoU threshold, recall, class, area).
FIGURES = {
    'AP': np.s_[:, :, :, 0],
    'AP50': np.s_[:1, :, :, 0],
    'AP75': np.s_[5:6, :, :, 0],
    'small': np.s_[:, :, :, 1],
    'medium': np.s_[:, :, :, 2],
    'large': np.s_[:, :, :, 3],
}


def average_precisions(images: Sequence[Image], classes: int) -> dict[str, np.ndarray]:
    """AP, AP50, AP75 and AP of the objects below 32 x 32, to 96 x 96 and above that.

    Of masks if the images have them, else of boxes.

    Returns:
        Name -> figure of each class, 0 to 1, nan where it has no such object. The mean of
        those that are not nan is the AP of the data set.

    Raises:
        UserError: If faster-coco-eval is not installed.
    """
    coco = extra('faster_coco_eval')
    of_masks = any(image.masks is not None for image in images)
    truth = coco.COCO()
    truth.dataset = dict(
        images=[dict(id=index, **_size(image)) for index, image in enumerate(images)],
        categories=[dict(id=label, name=str(label)) for label in range(classes)],
        annotations=[
            dict(
                # 0 would stand for no object
                id=0,
                image_id=index,
                category_id=int(label),
                area=float(area),
                iscrowd=int(ignored),
                **shape,
            )
            for index, image in enumerate(images)
            for shape, label, area, ignored in zip(
                _shapes(image.boxes, image.masks),
                image.labels,
                image.areas,
                image.ignored,
                strict=True,
            )
        ],
    )
    for number, annotation in enumerate(truth.dataset['annotations'], 1):
        annotation['id'] = number
    truth.createIndex()
    found = truth.loadRes(
        [
            dict(
                image_id=index,
                category_id=int(label),
                score=float(score),
                **shape,
            )
            for index, image in enumerate(images)
            for shape, label, score in zip(
                _shapes(image.found, image.found_masks),
                image.found_labels,
                image.scores,
                strict=True,
            )
        ]
    )
    evaluation = coco.COCOeval_faster(truth, found, 'segm' if of_masks else 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    # Of at most 100 detections; -1 where there is no object.
    precision = np.asarray(evaluation.eval['precision'])[..., -1]
    means = {name: precision[part].mean((0, 1)) for name, part in FIGURES.items()}
    return {name: np.where(mean < 0, np.nan, mean) for name, mean in means.items()}


def _shapes(boxes: np.ndarray, masks: Sequence[dict] | None) -> list[dict]:
    """What COCO's format has of objects: left, top, width and height, or run lengths."""
    if masks is not None:
        return [dict(segmentation=mask) for mask in masks]
    return [dict(bbox=[*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]) for box in boxes]


def _size(image: Image) -> dict[str, int]:
    """Height and width, which faster-coco-eval asks for where there are masks."""
    for mask in (*(image.masks or ()), *(image.found_masks or ())):
        return dict(zip(('height', 'width'), mask['size'], strict=True))
    return {}
