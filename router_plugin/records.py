"""Values that flow through a call. Money is in nano-dollars, prices in nano-dollars per token, times in seconds.

``Candidate`` is a deployment with everything that can be known about it before a request arrives; ``Request`` what a
request needs; ``Decision`` the candidates that may take it, in order; ``Attempt`` and ``Wait`` what
the plan asks of a driver; ``Answered`` and ``Failed`` what the driver reports back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import SpecError
from .redact import shown

if TYPE_CHECKING:
    from .decide.history import History
    from .spec.deployment import Deployment
    from .spec.policy import Policy

UNBOUNDED = 1 << 62


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the provider's catalogue says of a model; None is "not known".

    Prices in nano-dollars per token; ``caps``/``lacks`` are masks of what it certainly can / certainly cannot do.
    ``odd_price`` marks models with a price that is not per token (per image, second, query …).
    ``tiers`` are ``(threshold_input_tokens, input_price, output_price)``, dearest last. ``priority_factor`` is the
    dearest service tier's price over the base price. ``search_price`` is the dearest price of one web search, and
    ``always_searches`` marks models that search whether asked to or not.
    """

    provider: str | None = None
    input_price: float | None = None
    output_price: float | None = None
    cache_read_price: float | None = None
    cache_write_price: float | None = None
    audio_input_price: float | None = None
    audio_output_price: float | None = None
    reasoning_price: float | None = None
    tiers: tuple[tuple[int, float, float], ...] = ()
    max_input: int | None = None
    max_output: int | None = None
    window: int | None = None
    caps: int = 0
    lacks: int = 0
    odd_price: bool = False
    priority_factor: float = 1.0
    search_price: float | None = None
    always_searches: bool = False
    known: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A deployment made ready for deciding. Compared by identity.

    ``input_price`` / ``output_price`` are the base prices; ``guard_input`` / ``guard_output`` the dearest that a plain
    request (no cache marks, no service tier, no audio, at most ``tier_from`` input tokens) may meet. ``blend`` is USD
    per million tokens at (3·input + output)/4. ``guess`` stands in for a quality that nobody has declared or predicted.
    """

    index: int
    name: str
    deployment: Deployment
    facts: ModelFacts
    provider: str
    model_part: str
    quality: float | None
    guess: float
    priced: bool
    input_price: float
    output_price: float
    guard_input: float
    guard_output: float
    tier_from: int
    blend: float
    lacks: int
    max_input: int
    window: int
    max_output: int | None
    own_price: bool

    @property
    def ability(self) -> float:
        """Its quality over all prompts: what is declared, else the guess."""
        return self.guess if self.quality is None else self.quality


@dataclass(slots=True)
class Request:
    """What deciding reads of a call. Token figures are of the input; ``upper`` is a true bound, ``low`` a safe floor.

    ``history`` is what only some models can go on with (None: nothing of the kind).
    ``searches`` bounds the web searches it may make at the provider; UNBOUNDED where nothing does.
    ``keys`` holds ``user``, ``extra`` and ``metadata``, which budget keys are paths into.
    ``exact_counts`` memoises tokenisation.
    """

    needs: int
    estimate: int
    upper: int
    low: int
    cap: int | None
    n: int
    stream: bool
    messages: Sequence[Any] = ()
    tools: Sequence[Any] | None = None
    cache_marks: bool = False
    service_tier: str | None = None
    searches: int = 0
    history: History | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)
    exact_counts: dict[str, int] = field(default_factory=dict)


def whole_number(name: str, value: Any) -> int | None:
    """A count that bounds the cost of a call (``max_tokens``, ``n``): a whole number of at least 1, however it is
    written (100, 100.0, "100"); None where there is none.

    Raises: SpecError for anything else: nobody could say what a provider makes of it.
    """
    if value is None or (value.__class__ is int and value > 0):
        return value
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (1 <= number < UNBOUNDED and number == math.floor(number)):
        raise SpecError(f"{name}: must be a whole number of at least 1, got {shown(value)}")
    return int(number)


def hidden_params(answer: Any) -> dict[str, Any] | None:
    """litellm's dict of hidden parameters on an answer or stream; None where there is none."""
    try:
        hidden = answer.__pydantic_private__["_hidden_params"]  # where pydantic's own lookup would end, calls later
    except (AttributeError, KeyError, TypeError):
        hidden = getattr(answer, "_hidden_params", None)
    return hidden if hidden.__class__ is dict else None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a candidate may not take the request. ``kind``: "hard" never yields, "soft" yields to ``on_infeasible``,
    "live" yields when nothing else is left. ``detail`` holds the numbers for the message."""

    candidate: Candidate
    code: str
    kind: str
    detail: tuple[Any, ...] = ()


# A candidate that may take the request, while a decision is being made: a plain tuple, because making an object for
# every candidate of every request would be most of the decision's time.
#   (candidate, estimate, bound, cap, quality)
# ``estimate`` expected and ``bound`` worst-case cost in nano-dollars; ``cap`` the output cap that this router has to
# set for the bound to hold, None where none is needed; ``quality`` the prediction, None where there is none.
Row = tuple[Candidate, float, float, "int | None", "float | None"]
# A row in the ranking: the loss (lower is better; its negative is the score), the keys that break ties, last the row.
Ranked = tuple[Any, ...]


@dataclass(slots=True)
class Decision:
    """All that may take the request, best first, and everything that was left out."""

    ranking: list[Ranked]
    rejections: list[Rejection]
    policy: Policy
    request: Request
    waived: tuple[str, ...] = ()
    propensity: float = 1.0  # with which the first was to be first
    objective: Policy | None = None  # the policy the ranking was made under, where it is not ``policy``


@dataclass(slots=True)
class Attempt:
    """One call of one deployment.

    ``cap`` is the output cap to set, None for none; ``timeout_s`` this attempt's whole time (of a stream: until its
    first content chunk), ``left_s`` the same for its end, which is
    the call's deadline; ``ttft_timeout_s`` and ``stall_timeout_s`` are those of a
    stream; ``buffer`` asks for the whole stream before any of it is handed over.
    """

    candidate: Candidate
    number: int
    kwargs: dict[str, Any]
    cap: int | None
    timeout_s: float
    left_s: float
    ttft_timeout_s: float | None
    stall_timeout_s: float | None
    stream: bool
    buffer: bool = False
    hedge_after_s: float | None = None  # after so long without an answer the plan wants to hear of it
    cancel: Callable[[], None] | None = None  # set by providers whose blocking calls can be cut from another thread
    sent: bool = True  # whether the request may have left; a provider that can tell says False until it has
    fresh: bool = False  # whether the answer must not come from a cache: it is compared with another

    @property
    def until_first_s(self) -> float:
        """How long the answer (of a stream: its first content) may take."""
        if self.stream and self.ttft_timeout_s is not None:
            return min(self.timeout_s, self.ttft_timeout_s)
        return self.timeout_s


@dataclass(slots=True, eq=False)
class Ticket:
    """An admitted attempt, as the live state counts it: ``tokens`` held in its token limits, ``since`` when
    (monotonic), ``beside`` how many others were in flight there, ``probe`` whether it is the one probe of a resting
    deployment, ``slot`` where its minute counts it."""

    name: str
    tokens: int
    since: float
    beside: int
    stream: bool
    tokens_in: int = 0
    probe: bool = False
    slot: Any = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why an attempt was not admitted: seconds until it may be, and whether a rate limit says so. Waiting for capacity
    helps; waiting for an outage to end does not."""

    wait_s: float
    limited: bool


class Late:
    """Sent to the plan by a driver: the time to hedge has come and the attempt is still running."""

    __slots__ = ()


LATE = Late()


@dataclass(frozen=True, slots=True)
class Race:
    """Run this attempt beside the one that is late, and keep whoever answers first; None: wait on for the first."""

    second: Attempt | None
    final: Callable[[Failed], bool] | None = None  # whether a failure ends the race at once


@dataclass(frozen=True, slots=True)
class Raced:
    """How a race ended: ``outcome`` is the first's or the second's; ``loser`` what became of the other (an answer where
    both were there), None where it was cancelled."""

    first_won: bool
    outcome: Answered | Failed
    loser: Answered | Failed | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Sleep before going on."""

    seconds: float
    reason: str


@dataclass(slots=True)
class Usage:
    """Tokens as billed. ``exact`` is False where they had to be estimated."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    reasoning_tokens: int = 0
    searches: int = 0
    exact: bool = True


@dataclass(frozen=True, slots=True)
class RateWindow:
    """One rate limit as a provider's headers tell of it. ``kind``: requests, tokens, input-tokens or output-tokens;
    ``limit`` per window, ``remaining`` of it, ``reset_s`` until it is full again (None: not told)."""

    kind: str
    limit: int | None
    remaining: int
    reset_s: float | None


@dataclass(slots=True)
class Answered:
    """A provider answered: ``response`` is its own object, or (``peeked``) a stream read up to its first content.

    Of a stream ``whole`` makes one answer of what was read, and ``discard`` ends it where it is not wanted.
    """

    response: Any
    ttft_s: float | None = None
    peeked: bool = False
    limits: tuple[RateWindow, ...] = ()
    whole: Callable[[], Any] | None = None
    discard: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Facts of a failure, not a class of it.

    ``kind`` one of: rate_limit, overloaded, server, timeout, connection, context_window, content_policy, credential,
    not_found, quota, unsupported, bad_request, bad_answer, empty_answer, unwanted_answer, unknown.
    ``billed`` says whether the provider may bill for it; ``retry_after_s`` is the provider's own wish.
    """

    error: BaseException
    kind: str
    billed: bool = False
    retry_after_s: float | None = None
    status: int | None = None
    partial_text: str = ""
    usage: Usage | None = None
    limits: tuple[RateWindow, ...] = ()


@dataclass(slots=True)
class AttemptRecord:
    """What happened to one attempt; part of a ``RouteResult``. Latencies in ms, cost in USD."""

    deployment: str
    model: str
    outcome: str
    latency_ms: float | None = None
    ttft_ms: float | None = None
    cost_usd: float = 0.0
    error: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
