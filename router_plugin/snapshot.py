"""The fleet's state at one moment, as deciding reads it, and the scores a predictor gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, overload

from .records import Candidate, Request

# Until a deployment has been measured: a typical hosted chat model (Artificial Analysis medians, rounded).
PRIOR_TTFT_MS = 800.0
PRIOR_ITL_MS = 20.0


NO_WAITS: Mapping[str, float] = MappingProxyType({})


@dataclass(slots=True)
class Snapshot:
    """Live figures by deployment name; a name that is missing has not been measured.

    ``now`` is monotonic seconds, ``cooling`` the monotonic time until which a deployment rests and why (infinite while
    its one probe is out). ``waits`` are the seconds until a rate limit has room for this request, ``load`` what picks
    among equals: (in flight + 1) × peak latency in seconds.
    """

    now: float = 0.0
    cooling: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    ttft_ms: Mapping[str, float] = field(default_factory=dict)
    itl_ms: Mapping[str, float] = field(default_factory=dict)
    token_ratio: Mapping[str, float] = field(default_factory=dict)  # real input tokens over our estimate
    waits: Mapping[str, float] = field(default_factory=lambda: NO_WAITS)
    load: Mapping[str, float] = field(default_factory=lambda: NO_WAITS)


@dataclass(frozen=True, slots=True)
class Score:
    """A predictor's view of one model on one request: quality in 0..1, expected output tokens, and how uncertain the
    quality is (standard deviation); None is unknown. ``guessed``: of a model that nobody judged."""

    quality: float | None = None
    output_tokens: float | None = None
    quality_std: float | None = None
    guessed: bool = False


@dataclass(slots=True, eq=False)
class Scores(Sequence["Score | None"]):
    """What a scorer says of all candidates, column by column: deciding reads numbers, and a ``Score`` of each is made
    where somebody asks for one. A place of which nothing is said holds None in every column."""

    quality: Sequence[float | None]
    output_tokens: Sequence[float | None]
    quality_std: Sequence[float | None]
    guessed: Sequence[bool]

    @classmethod
    def of(cls, given: Sequence[Score | None]) -> Scores:
        """The columns of scores."""
        some = [Score() if score is None else score for score in given]
        return cls(
            [score.quality for score in some],
            [score.output_tokens for score in some],
            [score.quality_std for score in some],
            [score.guessed for score in some],
        )

    def __len__(self) -> int:
        return len(self.quality)

    @overload
    def __getitem__(self, at: int) -> Score | None: ...
    @overload
    def __getitem__(self, at: slice) -> list[Score | None]: ...
    def __getitem__(self, at: int | slice) -> Score | list[Score | None] | None:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        score = Score(self.quality[at], self.output_tokens[at], self.quality_std[at], self.guessed[at])
        return None if score.quality is score.output_tokens is score.quality_std is None else score


class Scorer(Protocol):
    """Predicts, for one request, all models at once. ``Router(…, scorer=…)``.

    ``score(request, models)`` gets the request and litellm's model strings, and returns one ``Score``, float (quality)
    or None for each, in that order.
    """

    def score(self, request: Request, models: Sequence[str]) -> Sequence[Score | float | None]: ...


def metric_value(candidate: Candidate, metric: str, snapshot: Snapshot) -> float | None:
    """A metric of a candidate that needs no request: prices in USD per million tokens, times in ms, tokens a second."""
    if metric in ("cost", "input_cost", "output_cost"):
        if not candidate.priced:
            return None
        if metric == "cost":
            return candidate.blend
        return (candidate.input_price if metric == "input_cost" else candidate.output_price) / 1e3
    if metric == "ttft":
        return snapshot.ttft_ms.get(candidate.name)
    itl = snapshot.itl_ms.get(candidate.name)
    if metric == "itl" or itl is None:
        return itl
    return 1e3 / itl if itl > 0 else None
