"""What the plot and the page share: what is drawn of a frontier, on which axes, and where labels find room.

Costs are drawn per 1,000 requests on a logarithmic axis; what is free stands at its left end, which says $0. Labels are
placed greedily, the nearest free spot around their point first (Imhof's positions, walked outwards); a label that had
to go far gets a line to its point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .curve import Frontier
from .points import Point, Setting, Single

THOUSAND = 1e3
Box = tuple[float, float, float, float]  # left, bottom, right, top
Spot = tuple[float, float]
Measured = Setting | Single


@dataclass(frozen=True, slots=True)
class Axes:
    """Ranges of the drawing: cost in USD per 1,000 requests (``floor`` is where free is drawn), and quality."""

    left: float
    right: float
    low: float
    high: float
    floor: float | None

    def cost(self, usd: float) -> float:
        """Where a cost (USD per request) stands, in the axis' own unit."""
        return usd * THOUSAND if usd > 0 or self.floor is None else self.floor

    def x(self, usd: float) -> float:
        """The same as a share of the axis' width."""
        return (math.log(self.cost(usd)) - math.log(self.left)) / (math.log(self.right) - math.log(self.left))

    def y(self, quality: float) -> float:
        return (quality - self.low) / (self.high - self.low)

    def holds(self, usd: float, quality: float) -> bool:
        return -1e-9 <= self.x(usd) <= 1 + 1e-9 and -1e-9 <= self.y(quality) <= 1 + 1e-9


def axes_of(frontier: Frontier, *, near: bool = False) -> Axes:
    """Axes that hold everything, or (``near``) the settings with the best single models alone."""
    measured: list[Measured] = [*frontier.settings, *(() if near else frontier.singles)]
    corners = frontier.random_mix if near else [frontier.oracle]
    points: list[Measured | Point] = [*measured, *corners]
    costs = [point.cost_usd * THOUSAND for point in points]
    paid = [cost for cost in costs if cost > 0]
    floor = min(paid, default=1.0) / 10 if len(paid) < len(costs) else None
    left, right = min(*paid, floor or math.inf, math.inf), max(*paid, floor or 0.0, 0.0)
    room = max(math.log(right / left) * 0.07, 0.1)
    low = min(*(point.quality for point in points), *(one.low for one in measured))
    high = max(*(point.quality for point in points), *(one.high for one in measured))
    pad = max((high - low) * 0.07, 0.01)
    return Axes(left / math.exp(room), right * math.exp(room), low - pad, high + pad, floor)


def crowded(frontier: Frontier) -> bool:
    """Whether a drawing of everything leaves the settings so little room that a nearer look helps."""
    everything, near = axes_of(frontier), axes_of(frontier, near=True)
    return len(frontier.settings) > 1 and near.high - near.low < 0.5 * (everything.high - everything.low)


def cost_ticks(axes: Axes) -> list[tuple[float, str]]:
    """(position, label) of 1–2–5 ticks, of powers of ten only where there would be too many."""
    powers = range(math.floor(math.log10(axes.left)), math.ceil(math.log10(axes.right)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    ticks = [(step * 10.0**power, f"${step * 10.0**power:.10g}") for power in powers for step in steps]
    if axes.floor is not None:
        ticks = [(axes.floor, "$0"), *(tick for tick in ticks if tick[0] > axes.floor * 2)]
    return [tick for tick in ticks if axes.left <= tick[0] <= axes.right]


def quality_ticks(axes: Axes) -> list[float]:
    """Five to ten round values."""
    rough = (axes.high - axes.low) / 10
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, last = math.ceil(axes.low / step), math.floor(axes.high / step)
    return [round(at * step, 10) for at in range(first, last + 1) if at * step <= 1 + 1e-9]


def mixed(corners: Sequence[Point | Setting], steps: int = 40) -> Iterator[Point]:
    """Points along straight mixes of neighbours, which are curves on a logarithmic axis."""
    for a, b in itertools.pairwise(corners):
        for step in range(steps):
            share = (step / steps) ** 2  # closer together at the cheap end, where a logarithmic axis bends most
            yield Point(a.cost_usd + share * (b.cost_usd - a.cost_usd), a.quality + share * (b.quality - a.quality))
    yield from (Point(last.cost_usd, last.quality) for last in corners[-1:])


def short(string: str) -> str:
    """A router string without what all of them share: ``c:0.00465|t:2.08e-05``."""
    tail = string.partition("@")[2] or string
    return tail.removeprefix("q:1|")


def dollars(usd: float) -> str:
    """A cost per 1,000 requests."""
    value = usd * THOUSAND
    return f"${value:,.2f}" if value >= 100 else "$0" if value == 0 else f"${value:.3g}"


def on_front(settings: Sequence[Setting]) -> list[bool]:
    """Which settings nothing beats on quality and cost alone; the others are there for their times."""
    return [
        not any(
            o.quality >= s.quality and o.cost_usd <= s.cost_usd and (o.quality, o.cost_usd) != (s.quality, s.cost_usd)
            for o in settings
        )
        for s in settings
    ]


def place_labels(anchors: Sequence[Spot], sizes: Sequence[Spot], taken: Sequence[Box], frame: Box) -> list[Box]:
    """A box for each label, in the order given: the nearest to its anchor that lies in the frame and touches neither
    an earlier label nor what is ``taken``; where there is none, the one that touches least."""
    placed: list[Box] = []
    for (x, y), (width, height) in zip(anchors, sizes, strict=True):
        least, best = math.inf, (x, y, x + width, y + height)
        for box in _around(x, y, width, height):
            overlap = _outside(box, frame) + sum(_overlap(box, other) for other in (*taken, *placed))
            if overlap < least:
                least, best = overlap, box
                if overlap <= 0:
                    break
        placed.append(best)
    return placed


def _around(x: float, y: float, width: float, height: float) -> Iterator[Box]:
    """Boxes around a point, near ones first: right, above, left, below, and between."""
    for gap in (7.0, 14.0, 26.0, 42.0, 62.0, 88.0, 120.0, 160.0, 210.0, 270.0):
        for angle in (0, 45, 90, 135, 180, 225, 270, 315, 22, 67, 112, 157, 202, 247, 292, 337):
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            middle_x = x + dx * (gap + width / 2)
            middle_y = y + dy * (gap + height / 2)
            yield middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2


def _overlap(a: Box, b: Box) -> float:
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return wide * tall if wide > 0 and tall > 0 else 0.0


def _outside(box: Box, frame: Box) -> float:
    area = (box[2] - box[0]) * (box[3] - box[1])
    return 4 * (area - _overlap(box, frame)) if area > _overlap(box, frame) + 1e-9 else 0.0


def around(spot: Spot, size: float) -> Box:
    """The square of ``size`` to each side of a point."""
    return spot[0] - size, spot[1] - size, spot[0] + size, spot[1] + size


def along(spots: Sequence[Spot]) -> list[Box]:
    """Small squares that cover a line through these points."""
    found = []
    for (x, y), (to_x, to_y) in itertools.pairwise(spots):
        steps = max(1, min(200, math.ceil(math.hypot(to_x - x, to_y - y) / 6)))
        found += [around((x + (to_x - x) * at / steps, y + (to_y - y) * at / steps), 2.5) for at in range(steps)]
    return found


def leader(anchor: Spot, box: Box) -> Spot | None:
    """Where a line from the anchor meets its label; None where the label stands beside it."""
    x, y = min(max(anchor[0], box[0]), box[2]), min(max(anchor[1], box[1]), box[3])
    return (x, y) if math.hypot(anchor[0] - x, anchor[1] - y) > 16 else None
