"""The frontier as a picture: quality against cost, by matplotlib (extra ``plot``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SpecError
from . import canvas
from .canvas import Axes, Box, Measured
from .curve import Frontier
from .points import Point, Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Plane
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2430", "#7a8394", "#e6e9ef"
STAR, DOT, MIX, ORACLE, PAY = "#1a8f4c", "#5b6b8c", "#b0762a", "#8a4fbf", "#2f7fb8"
ENDINGS = (".png", ".svg", ".pdf")


def plot(
    frontier: Frontier,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    near: bool = False,
    width: int = 1200,
    height: int = 800,
) -> Figure:
    """Quality against cost (logarithmic): models as dots, settings as stars labelled with their string, what mixing
    at random gives, the hull of the settings, the oracle, and 95 % intervals.

    ``path`` saves it, PNG, SVG or PDF by its ending; ``near`` shows the settings alone, without the models far below
    them; ``width`` and ``height`` are in pixels.
    Raises: SpecError for another ending, and where matplotlib is not installed, with the command that installs it.
    """
    if path is not None and Path(path).suffix.lower() not in ENDINGS:
        raise SpecError(f"path: must end in one of {', '.join(ENDINGS)}, got {Path(path).name!r}")
    figure = _figure(width, height)
    axes, plane = canvas.axes_of(frontier, near=near), figure.add_subplot()
    _scales(plane, axes, title)
    _curves(plane, axes, frontier)
    _marks(plane, axes, frontier)
    plane.legend(loc="best", frameon=True, framealpha=0.92, edgecolor=GRID, fontsize=9)
    figure.tight_layout()
    _labels(figure, plane, axes, frontier)
    if path is not None:
        _save(figure, path)
    return figure


def _figure(width: int, height: int) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SpecError("plot() needs matplotlib: pip install 'router-plugin[plot]'") from None
    return Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")  # no pyplot: no global state


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    from matplotlib import rc_context

    svg = Path(path).suffix.lower() == ".svg"
    with rc_context({"svg.hashsalt": "router-plugin", "svg.fonttype": "none"}):  # the same bytes every time
        figure.savefig(os.fspath(path), metadata={"Date": None} if svg else None)


def _scales(plane: Plane, axes: Axes, title: str | None) -> None:
    plane.set_xscale("log")
    plane.set_xlim(axes.left, axes.right)
    plane.set_ylim(axes.low, axes.high)
    ticks = canvas.cost_ticks(axes)
    plane.set_xticks([at for at, _ in ticks], [_literal(label) for _, label in ticks])
    plane.set_xticks([], minor=True)
    qualities = canvas.quality_ticks(axes)
    plane.set_yticks(qualities, [f"{quality:g}" for quality in qualities])
    plane.set_xlabel("USD per 1,000 requests (logarithmic)", color=INK, fontsize=11)
    plane.set_ylabel("mean quality", color=INK, fontsize=11)
    plane.set_title(title or "Quality against cost", color=INK, fontsize=13, loc="left", fontweight="bold")
    plane.grid(True, color=GRID, linewidth=0.8)
    plane.set_axisbelow(True)
    plane.tick_params(colors=INK, length=0)
    for side in ("top", "right"):
        plane.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        plane.spines[side].set_color(MUTED)


def _curves(plane: Plane, axes: Axes, frontier: Frontier) -> None:
    named: tuple[tuple[str, Sequence[Point | Setting], dict[str, Any]], ...] = (
        ("random mix of models", frontier.random_mix, {"color": MIX, "linestyle": (0, (5, 3))}),
        ("hull of the settings", frontier.hull, {"color": STAR, "linestyle": "-", "alpha": 0.55}),
        ("willingness to pay", frontier.pay, {"color": PAY, "linestyle": ":"}),
    )
    for label, corners, style in named:
        if len(corners) > 1:
            points = list(canvas.mixed(corners))
            costs, qualities = [axes.cost(p.cost_usd) for p in points], [p.quality for p in points]
            plane.plot(costs, qualities, label=label, linewidth=1.6, zorder=2, **style)


def _marks(plane: Plane, axes: Axes, frontier: Frontier) -> None:
    front = canvas.on_front(frontier.settings)
    stars = [s for s, on in zip(frontier.settings, front, strict=True) if on]
    timed = [s for s, on in zip(frontier.settings, front, strict=True) if not on]
    _whiskered(plane, axes, "one model for all", frontier.singles, {"fmt": "o", "color": DOT, "markersize": 6})
    _whiskered(plane, axes, "setting of the router", stars, {"fmt": "*", "color": STAR, "markersize": 14})
    hollow = {"fmt": "*", "color": STAR, "markersize": 12, "markerfacecolor": "white", "markeredgecolor": STAR}
    _whiskered(plane, axes, "setting, fast for its price", timed, hollow)
    best = frontier.oracle
    if axes.holds(best.cost_usd, best.quality):
        plane.plot([axes.cost(best.cost_usd)], [best.quality], "D", color=ORACLE, markersize=8, label="oracle")


def _whiskered(plane: Plane, axes: Axes, label: str, points: Sequence[Measured], style: dict[str, Any]) -> None:
    if not points:
        return
    plane.errorbar(
        [axes.cost(p.cost_usd) for p in points],
        [p.quality for p in points],
        [[p.quality - p.low for p in points], [p.high - p.quality for p in points]],
        **{"markeredgecolor": "white", "markeredgewidth": 0.8, **style},
        ecolor=style["color"] + "55",
        elinewidth=1.2,
        capsize=2.5,
        label=f"{label} (95 % interval)",
        zorder=4,
    )


def _labels(figure: Figure, plane: Plane, axes: Axes, frontier: Frontier) -> None:
    """Names beside the dots and strings beside the stars, in pixels, where nothing else is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    shown: list[tuple[str, Measured, str]] = [(canvas.short(s.string), s, STAR) for s in frontier.settings]
    shown += [(s.model, s, INK) for s in frontier.singles]
    shown = [one for one in shown if axes.holds(one[1].cost_usd, one[1].quality)]
    paper = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.5}
    texts = [
        plane.text(0, 0, _cut(t), fontsize=8.5, color=c, zorder=5, parse_math=False, bbox=paper) for t, _, c in shown
    ]
    extents = [text.get_window_extent(renderer) for text in texts]
    spots = [_pixel(plane, axes, p.cost_usd, p.quality) for _, p, _ in shown]
    sizes = [(extent.width + 4, extent.height + 1) for extent in extents]
    boxes = canvas.place_labels(spots, sizes, _taken(plane, axes, frontier, renderer), _box(plane, renderer))
    back = plane.transData.inverted()
    for text, spot, box in zip(texts, spots, boxes, strict=True):
        x, y = back.transform((box[0] + 2, (box[1] + box[3]) / 2))
        text.set_position((x, y))
        text.set_verticalalignment("center")
        end = canvas.leader(spot, box)
        if end is not None:
            ends = [back.transform(at) for at in (spot, end)]
            plane.plot(*zip(*ends, strict=True), color=MUTED, linewidth=0.7, alpha=0.7, zorder=3)


def _taken(plane: Plane, axes: Axes, frontier: Frontier, renderer: Any) -> list[Box]:
    """Where no label may stand: marks, whiskers, curves and the legend, in pixels."""
    measured: list[Measured] = [*frontier.settings, *frontier.singles]
    taken = [canvas.around(_pixel(plane, axes, p.cost_usd, p.quality), 8) for p in (*measured, frontier.oracle)]
    for one in measured:
        x, low = _pixel(plane, axes, one.cost_usd, one.low)
        taken.append((x - 2, low, x + 2, _pixel(plane, axes, one.cost_usd, one.high)[1]))
    for corners in (frontier.random_mix, frontier.hull):
        taken += canvas.along([_pixel(plane, axes, p.cost_usd, p.quality) for p in canvas.mixed(corners)])
    legend = plane.get_legend()
    return taken if legend is None else [*taken, _box(legend, renderer)]


def _pixel(plane: Plane, axes: Axes, cost_usd: float, quality: float) -> tuple[float, float]:
    x, y = plane.transData.transform((axes.cost(cost_usd), quality))
    return float(x), float(y)


def _box(artist: Any, renderer: Any) -> Box:
    left, bottom, right, top = (float(side) for side in artist.get_window_extent(renderer).extents)
    return left, bottom, right, top


def _literal(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib reads formulas between dollar signs


def _cut(text: str, most: int = 44) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
