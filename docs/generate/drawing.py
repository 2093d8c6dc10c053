"""Boxes and arrows as SVG, in the colours of the page it stands on."""

from collections.abc import Sequence
from html import escape

from generate.flow import Step

LINE, LETTER, PAD, GAP = 16, 6.3, 9, 30  # pixels
ROUND = ('×', '+', '-', '/')


class Layout:
    """Where each box lies: rows from top to bottom, and what passes a row has a place in it.

    Attributes:
        rows: Numbers of boxes; -1 - e stands for arrow e where it passes a row.
        size, place: Width and height, and middle, of each of them.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        depth = [0] * len(steps)
        for i, step in enumerate(steps):
            depth[i] = max((depth[s] + 1 for s in step.sources), default=0)
        self.arrows = [(s, i) for i, step in enumerate(steps) for s in step.sources]
        self.rows: list[list[int]] = [[] for _ in range(max(depth) + 1)]
        for i, row in enumerate(depth):
            self.rows[row].append(i)
        self.path: list[list[int]] = []
        for e, (source, end) in enumerate(self.arrows):
            passed = range(depth[source] + 1, depth[end])
            for row in passed:
                self.rows[row].append(-1 - e)
            self.path.append([source, *[-1 - e] * len(passed), end])
        self.size = {i: self._size(step) for i, step in enumerate(steps)}
        self.size |= {-1 - e: (14, 0) for e in range(len(self.arrows))}
        self.depth = depth
        self._order()
        self._spread()

    @staticmethod
    def _size(step: Step) -> tuple[float, float]:
        if is_round(step):
            return 26, 26
        letters = max(map(len, step.lines))
        return letters * LETTER + 2 * PAD, len(step.lines) * LINE + PAD

    def _order(self) -> None:
        """Each row in the order of what its members take from, then of what takes from them."""
        for down in (True, False, True, False, True):
            order = range(1, len(self.rows)) if down else range(len(self.rows) - 2, -1, -1)
            for row in order:
                near = self.rows[row - 1 if down else row + 1]
                at = {one: k for k, one in enumerate(near)}
                now = {one: k for k, one in enumerate(self.rows[row])}

                def middle(one: int, at: dict = at, now: dict = now, row: int = row) -> float:
                    places = [at[n] for n in self._near(one, row) if n in at]
                    return sum(places) / len(places) if places else now[one]

                self.rows[row].sort(key=middle)

    def _near(self, one: int, row: int) -> list[int]:
        if one < 0:
            source, end = self.arrows[-1 - one]
            return [one, source, end]
        out = []
        for e, (source, end) in enumerate(self.arrows):
            if one in (source, end):
                other = end if one == source else source
                out.append(other if abs(self.depth[other] - row) == 1 else -1 - e)
        return out

    def _spread(self) -> None:
        widths = [sum(self.size[one][0] for one in row) + GAP * (len(row) - 1) for row in self.rows]
        self.width = max(widths) + 2 * PAD
        self.place: dict[tuple[int, int], tuple[float, float]] = {}
        y = PAD
        for number, (row, width) in enumerate(zip(self.rows, widths, strict=True)):
            x = (self.width - width) / 2
            high = max(self.size[one][1] for one in row)
            for one in row:
                wide = self.size[one][0]
                self.place[one, number] = x + wide / 2, y + high / 2
                x += wide + GAP
            y += high + GAP
        self.height = y - GAP + PAD


def is_round(step: Step) -> bool:
    return len(step.lines) == 1 and step.lines[0] in ROUND


def draw(steps: Sequence[Step], title: str) -> str:
    """The boxes as an <svg> element; each arrow bears the shape of what it brings."""
    layout = Layout(steps)
    parts = [_arrow(layout, e) for e in range(len(layout.arrows))]
    parts += [_box(layout, i) for i in range(len(steps))]
    # What comes out.
    x, y = layout.place[len(steps) - 1, layout.depth[-1]]
    y += layout.size[len(steps) - 1][1] / 2
    out = f'y: {steps[-1].shape}' if steps[-1].shape else 'y'
    parts.append(f'<path class="arrow" d="M{x:.0f} {y:.0f} v18" marker-end="url(#head)"/>')
    parts.append(f'<text class="shape" x="{x + 8:.0f}" y="{y + 14:.0f}">{escape(out)}</text>')
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>'
    )
    width, height = layout.width + 90, layout.height + 26
    return (
        f'<svg class="flow" role="img" aria-label="{escape(title)}" width="{width:.0f}" '
        f'viewBox="-20 0 {width:.0f} {height:.0f}" xmlns="http://www.w3.org/2000/svg">'
        f'{head}{"".join(parts)}</svg>'
    )


def _box(layout: Layout, number: int) -> str:
    step = layout.steps[number]
    x, y = layout.place[number, layout.depth[number]]
    wide, high = layout.size[number]
    if is_round(step):
        shape = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="13"/>'
    else:
        left, top = x - wide / 2, y - high / 2
        shape = (
            f'<rect x="{left:.0f}" y="{top:.0f}" width="{wide:.0f}" height="{high:.0f}" rx="5"/>'
        )
    top = y - (len(step.lines) - 1) * LINE / 2 + 4
    lines = [
        f'<text x="{x:.0f}" y="{top + k * LINE:.0f}">{escape(line)}</text>'
        for k, line in enumerate(step.lines)
    ]
    return f'<g class="{step.kind}">{shape}{"".join(lines)}</g>'


def _arrow(layout: Layout, number: int) -> str:
    source, end = layout.arrows[number]
    path = layout.path[number]
    first = layout.depth[source]
    points = [layout.place[one, first + k] for k, one in enumerate(path)]
    (x, y), high = points[0], layout.size[source][1]
    text = f'M{x:.0f} {y + high / 2:.0f}'
    before = x, y + high / 2
    for k, (x, y) in enumerate(points[1:], 1):
        high = layout.size[path[k]][1]
        row = max(layout.size[one][1] for one in layout.rows[first + k])
        top = y - (high if k == len(points) - 1 else row) / 2
        middle = (before[1] + top) / 2
        text += f' C{before[0]:.0f} {middle:.0f} {x:.0f} {middle:.0f} {x:.0f} {top:.0f}'
        if k < len(points) - 1:
            text += f' V{y + row / 2:.0f}'
        before = x, y + row / 2
    label = ''
    shape = layout.steps[source].shape
    # Once for each source, beside its first arrow.
    if shape and number == min(e for e, (s, _) in enumerate(layout.arrows) if s == source):
        x, y = points[0]
        label = (
            f'<text class="shape" x="{x + 8:.0f}" y="{y + layout.size[source][1] / 2 + 13:.0f}">'
            f'{escape(shape)}</text>'
        )
    return f'<path class="arrow" d="{text}" marker-end="url(#head)"/>{label}'
