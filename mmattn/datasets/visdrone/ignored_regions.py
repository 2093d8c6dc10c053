"""VisDrone's ignored regions: what lies in them is neither learnt nor evaluated."""

import numpy as np

# The toolkit drops what is at least half inside (utils/dropObjectsInIgr.m).
INSIDE = 0.5


def coverage(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """How much of each box lies inside the union of the regions.

    Areas are exact; the toolkit counts whole pixels, in which its regions are a pixel wider to
    the left and to the top.

    Args:
        boxes: Corners x1, y1, x2, y2 of shape (N, 4).
        regions: Corners of shape (R, 4); they may overlap.

    Returns:
        Parts from 0 to 1 of shape (N,); 0 for boxes without an area.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    regions = np.asarray(regions, float).reshape(-1, 4)
    if not len(regions):
        return np.zeros(len(boxes))
    # The regions' edges cut the plane into cells, each of them inside or outside as a whole.
    xs, ys = np.unique(regions[:, 0::2]), np.unique(regions[:, 1::2])
    inside = np.zeros((len(xs) - 1, len(ys) - 1), bool)
    for x1, y1, x2, y2 in regions:
        inside |= np.outer((xs[:-1] >= x1) & (xs[1:] <= x2), (ys[:-1] >= y1) & (ys[1:] <= y2))
    widths = _overlap(boxes[:, 0], boxes[:, 2], xs)
    heights = _overlap(boxes[:, 1], boxes[:, 3], ys)
    covered = ((widths @ inside) * heights).sum(1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.divide(covered, areas, out=np.zeros_like(covered), where=areas > 0)


def _overlap(low: np.ndarray, high: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Lengths (N, E - 1) that intervals (N,) share with those between E sorted edges."""
    ends = np.minimum(high[:, None], edges[1:])
    return np.maximum(ends - np.maximum(low[:, None], edges[:-1]), 0)
