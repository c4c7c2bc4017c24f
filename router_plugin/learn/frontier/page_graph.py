"""The graph of the page: one SVG of quality against cost, whose stars can be hovered, focused and clicked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from . import canvas
from .canvas import Axes, Box, Measured, Spot
from .curve import Frontier
from .points import Point, Setting

WIDTH, HEIGHT = 1000.0, 560.0
LEFT, RIGHT, BOTTOM, TOP = 64.0, 24.0, 52.0, 18.0  # margins
LETTER, LINE = 6.1, 15.0  # of a label at 11 px: about the widest that common sans-serif fonts come to
STAR = "M0 -10 2.6 -3.4 9.5 -3.1 4.1 1.3 5.9 8.1 0 4.2 -5.9 8.1 -4.1 1.3 -9.5 -3.1 -2.6 -3.4Z"


def graph(frontier: Frontier, *, near: bool = False) -> str:
    """The SVG. Stars carry ``data-card``, the number of their setting, and ``data-copy``, its router string."""
    axes = canvas.axes_of(frontier, near=near)
    parts = [
        f'<svg class="graph" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="group" aria-label="quality against cost">',
        *_grid(axes),
        *_curves(axes, frontier),
        *_dots(axes, frontier),
        *_names(axes, frontier),
        *_stars(axes, frontier),
        "</svg>",
    ]
    return "\n".join(parts)


def _spot(axes: Axes, cost_usd: float, quality: float) -> Spot:
    """Pixels from the upper left."""
    x = LEFT + axes.x(cost_usd) * (WIDTH - LEFT - RIGHT)
    return x, HEIGHT - BOTTOM - axes.y(quality) * (HEIGHT - BOTTOM - TOP)


def _grid(axes: Axes) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for at, label in canvas.cost_ticks(axes):
        x, _ = _spot(axes, at / canvas.THOUSAND, axes.low)
        yield f'<path class="grid" d="M{x:.1f} {TOP:g}V{bottom:g}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{bottom + 18:g}" text-anchor="middle">{escape(label)}</text>'
    for quality in canvas.quality_ticks(axes):
        _, y = _spot(axes, 1.0, quality)
        yield f'<path class="grid" d="M{LEFT:g} {y:.1f}H{right:g}"/>'
        yield f'<text class="tick" x="{LEFT - 8:g}" y="{y + 4:.1f}" text-anchor="end">{quality:g}</text>'
    middle = (LEFT + right) / 2
    yield f'<text class="title" x="{middle:g}" y="{HEIGHT - 10:g}" text-anchor="middle">USD per 1,000 requests</text>'
    turned = f"translate(16 {(TOP + bottom) / 2:g}) rotate(-90)"
    yield f'<text class="title" transform="{turned}" text-anchor="middle">mean quality</text>'


def _curves(axes: Axes, frontier: Frontier) -> Iterator[str]:
    kinds: tuple[tuple[str, Sequence[Point | Setting]], ...]
    kinds = (("mix", frontier.random_mix), ("hull", frontier.hull), ("pay", frontier.pay))
    for kind, corners in kinds:
        points = canvas.mixed(corners)
        inside = [_spot(axes, p.cost_usd, p.quality) for p in points if axes.holds(p.cost_usd, p.quality)]
        if len(inside) > 1:
            yield f'<path class="{kind}" d="M{" ".join(f"{x:.1f} {y:.1f}" for x, y in inside)}"/>'


def _whisker(axes: Axes, one: Measured) -> str:
    x, low = _spot(axes, one.cost_usd, max(one.low, axes.low))
    _, high = _spot(axes, one.cost_usd, min(one.high, axes.high))
    return f'<path class="whisker" d="M{x - 3:.1f} {low:.1f}h6m-3 0V{high:.1f}m-3 0h6"/>'


def _dots(axes: Axes, frontier: Frontier) -> Iterator[str]:
    for one in frontier.singles:
        if axes.holds(one.cost_usd, one.quality):
            x, y = _spot(axes, one.cost_usd, one.quality)
            about = f"{one.model}: quality {one.quality:.3f}, {canvas.dollars(one.cost_usd)} per 1,000 requests"
            yield f'<g class="model">{_whisker(axes, one)}<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
            yield f"<title>{escape(about)}</title></g>"
    best = frontier.oracle
    if axes.holds(best.cost_usd, best.quality):
        x, y = _spot(axes, best.cost_usd, best.quality)
        yield f'<path class="oracle" d="M{x:.1f} {y - 8:.1f}l8 8 -8 8 -8 -8Z"/>'


def _names(axes: Axes, frontier: Frontier) -> Iterator[str]:
    shown = [one for one in frontier.singles if axes.holds(one.cost_usd, one.quality)]
    labels = [(one.model if len(one.model) <= 40 else one.model[:39] + "…", "name") for one in shown]
    spots = [_spot(axes, one.cost_usd, one.quality) for one in shown]
    if axes.holds(frontier.oracle.cost_usd, frontier.oracle.quality):
        labels.append(("oracle", "name oracle-name"))
        spots.append(_spot(axes, frontier.oracle.cost_usd, frontier.oracle.quality))
    sizes = [(len(text) * LETTER + 4, LINE) for text, _ in labels]
    frame: Box = (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    boxes = canvas.place_labels(spots, sizes, _taken(axes, frontier), frame)
    for (text, kind), spot, box in zip(labels, spots, boxes, strict=True):
        end = canvas.leader(spot, box)
        if end is not None:
            yield f'<path class="leader" d="M{spot[0]:.1f} {spot[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"/>'
        x, anchor = _towards(spot, box)
        yield f'<text class="{kind}" x="{x:.1f}" y="{box[3] - 4:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _towards(spot: Spot, box: Box) -> tuple[float, str]:
    """Where a label is anchored: at its side next to the point, since its real width may be less than we think."""
    if box[0] >= spot[0]:
        return box[0] + 2, "start"
    return (box[2] - 2, "end") if box[2] <= spot[0] else ((box[0] + box[2]) / 2, "middle")


def _taken(axes: Axes, frontier: Frontier) -> list[Box]:
    """Where no label may stand: marks, whiskers and curves."""
    measured: Sequence[Measured] = [*frontier.settings, *frontier.singles]
    taken = [canvas.around(_spot(axes, one.cost_usd, one.quality), 9) for one in measured]
    for one in measured:
        (x, low), (_, high) = _spot(axes, one.cost_usd, one.low), _spot(axes, one.cost_usd, one.high)
        taken.append((x - 3, high, x + 3, low))
    for corners in (frontier.random_mix, frontier.hull):
        taken += canvas.along([_spot(axes, p.cost_usd, p.quality) for p in canvas.mixed(corners)])
    return taken


def _stars(axes: Axes, frontier: Frontier) -> Iterator[str]:
    for at, (one, front) in enumerate(zip(frontier.settings, canvas.on_front(frontier.settings), strict=True)):
        if not axes.holds(one.cost_usd, one.quality):
            continue
        x, y = _spot(axes, one.cost_usd, one.quality)
        label = f"copy {one.string}: quality {one.quality:.3f}, {canvas.dollars(one.cost_usd)} per 1,000 requests"
        yield (
            f'<g class="star{"" if front else " timed"}" tabindex="0" role="button" aria-label="{escape(label)}" '
            f'data-card="{at}" data-copy="{escape(one.string)}">{_whisker(axes, one)}'
            f'<g transform="translate({x:.1f} {y:.1f})"><circle class="touch" r="12"/>'
            f'<path class="mark" d="{STAR}"/></g></g>'
        )
