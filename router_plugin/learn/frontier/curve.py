"""The quality–cost frontier: what a router can do on judged prompts, as settings that are ready to use.

``frontier(rows, predictor, prices=…)`` turns the dials over held-out rows, measures what each setting would really
have scored and cost, keeps those that nothing beats on quality × cost × TTFT × ITL, and thins them to a few well-spaced
ones, each with its router string. The predictor must not have seen the rows; and since the best of many settings are
shown, their quality is a little flattered: read it with its interval.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...errors import SpecError
from ...redact import shown
from ...spec.strings import RouterTag, Weights, parse_router_string
from ..outcomes.figures import Prices, figure, whole_number
from .points import Chosen, Point, Setting, Single, hull, intervals, oracle, point, thinned
from .rows import read_outcomes
from .sweep import choose, choose_by_pay, dials, pays


@dataclass(frozen=True, slots=True)
class Frontier:
    """What ``frontier`` found. ``settings`` from cheap to dear; ``pay`` the same along the willingness to pay (not
    part of a router string); ``singles`` each model alone; ``random_mix`` the corners of what mixing models at random
    gives; ``hull`` of what mixing settings gives; ``oracle`` the best model for every prompt, known beforehand.
    ``prompts`` were measured, ``left_out`` had no score of every model.
    """

    settings: list[Setting]
    pay: list[Setting]
    singles: list[Single]
    random_mix: list[Point]
    hull: list[Point]
    oracle: Point
    prompts: int
    left_out: int

    def model_dump(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON."""
        return asdict(self)

    def best(self, max_cost_usd: float | None = None, min_quality: float | None = None) -> Setting:
        """The best setting that costs at most ``max_cost_usd`` a request; with ``min_quality`` the cheapest that
        reaches it.

        Raises: SpecError where none does, naming the nearest, and for what is no number.
        """
        for name, value in (("max_cost_usd", max_cost_usd), ("min_quality", min_quality)):
            if value is not None and figure(value, name) is None:
                raise SpecError(f"{name}: must be a number, got {shown(value)}")
        fit = [s for s in self.settings if max_cost_usd is None or s.cost_usd <= max_cost_usd]
        if not fit:
            cheapest = min(self.settings, key=lambda s: s.cost_usd)
            raise SpecError(f"max_cost_usd: the cheapest setting, {cheapest.string}, costs ${cheapest.cost_usd:.3g}")
        if min_quality is None:
            return max(fit, key=lambda s: (s.quality, -s.cost_usd))
        good = [s for s in fit if s.quality >= min_quality]
        if not good:
            best = max(fit, key=lambda s: s.quality)
            raise SpecError(f"min_quality: the best setting there is, {best.string}, reaches {best.quality:.3f}")
        return min(good, key=lambda s: (s.cost_usd, -s.quality))

    def plot(self, path: str | os.PathLike[str] | None = None, **options: Any) -> Any:
        """See ``learn.plot.plot``."""
        from .plot import plot

        return plot(self, path, **options)

    def save_page(self, path: str | os.PathLike[str], **options: Any) -> None:
        """See ``learn.page.save_page``."""
        from .page import save_page

        save_page(self, path, **options)

    def _repr_html_(self) -> str:
        from .page import framed

        return framed(self)


def frontier(
    rows: Sequence[Mapping[str, Any]],
    qualities: Any = None,
    *,
    models: Sequence[str] | None = None,
    prices: Prices | None = None,
    ttft_ms: Mapping[str, float] | None = None,
    itl_ms: Mapping[str, float] | None = None,
    router: str | None = None,
    only: bool = False,
    points: int = 12,
    seed: int = 0,
) -> Frontier:
    """Sweep the dials over held-out ``rows`` (``prompt``, ``scores``, and where known ``input_tokens``,
    ``output_tokens``, ``cost_usd``, ``ttft_ms``, ``itl_ms``).

    ``qualities``: a Predictor; or an array of its predictions, with ``models=`` naming the columns; or declared ones,
    ``{model: 0..1}``; None: each model's mean over these rows. ``prices``: USD per million tokens,
    ``{model: (input, output)}``. ``ttft_ms`` and ``itl_ms`` count only where every model has one. ``models``, in the
    router's order, leaves the others out. ``router`` is the name that the strings address, and ``only`` whether they
    name the models, as they must where that router has others too. ``seed`` is the intervals'.

    Raises: SpecError naming the argument or row and what would be right.
    """
    points, seed = whole_number(points, "points", 2), whole_number(seed, "seed", 0)
    data = read_outcomes(rows, qualities, models=models, prices=prices, ttft_ms=ttft_ms, itl_ms=itl_ms)
    tag = RouterTag(name=router, models=data.models if only else ())
    turned = _distinct((_string(tag, weights), choose(data, weights)) for weights in dials(data))
    paid = _distinct((f"willingness_to_pay={pay!r}", choose_by_pay(data, pay)) for pay in pays(data))
    alone = [(name, np.full(len(data.prompts), at, dtype=np.intp)) for at, name in enumerate(data.models)]
    kinds = (thinned(data, turned, points, timed=True), thinned(data, paid, points, timed=False), alone)
    bounds = iter(intervals(data, [choice for kind in kinds for _, choice in kind], seed))
    settings, along, ones = ([point(data, string, choice, *next(bounds)) for string, choice in kind] for kind in kinds)
    return Frontier(
        settings=settings,
        pay=along,
        singles=[Single(s.string, s.quality, s.low, s.high, s.cost_usd, s.ttft_ms, s.itl_ms) for s in ones],
        random_mix=hull(ones),
        hull=hull(settings),
        oracle=oracle(data),
        prompts=len(data.prompts),
        left_out=data.left_out,
    )


def _string(tag: RouterTag, weights: Weights) -> str:
    return str(parse_router_string(str(replace(tag, weights=weights))))


def _distinct(tried: Iterable[Chosen]) -> list[Chosen]:
    """Of the settings that choose alike the one with the shortest string."""
    found: dict[bytes, Chosen] = {}
    for string, choice in tried:
        known = found.setdefault(choice.tobytes(), (string, choice))
        if len(string) < len(known[0]):
            found[choice.tobytes()] = (string, choice)
    return list(found.values())
