"""How long a deployment takes: time-decayed distributions of first tokens, gaps between tokens and whole answers.

Rule: a sample's weight halves every ``HALF_LIFE_S``; means and quantiles come from the weights. Whole answers and
streams are kept apart and related by the length of the output: an answer of n tokens takes first + n × gap, and where
only whole answers were seen a decayed least-squares line through (n, seconds) says the same.
A time-out or a cancellation is a sample of "at least this long" (right-censored): it counts as what answers that took
longer took on average, and never pulls an estimate down.

Theory: exponentially decayed histograms (forward decay, Cormode et al. 2009) on a logarithmic scale, as in Prometheus'
native histograms; redistribution of censored samples to the right (Efron 1967). Defaults: half-life 180 s (Finagle's
peak EWMA uses seconds to minutes; model endpoints drift slower than microservices), buckets 12 % apart from 1 ms to
about an hour.
"""

from __future__ import annotations

import math

HALF_LIFE_S = 180.0
STALE_S = 10.0
_BASE_S, _RATIO = 0.001, 1.12
_LOG = math.log(_RATIO)
_LEAST_SAMPLES = 5.0
_BUCKETS = 134  # 1 ms × 1.12^134 ≈ 3,900 s
_RESCALE = 2.0**40  # weights grow with time; beyond this they are scaled back
# Of the mean: under heavy traffic one sample still moves it by a twentieth.
_MOST_WEIGHT = 19.0
_AT_MOST_TIMES = 2.0  # the usual time counts a sample as so many times itself at most


def _bucket(seconds: float) -> int:
    if seconds <= _BASE_S:
        return 0
    return min(_BUCKETS - 1, int(math.log(seconds / _BASE_S) / _LOG) + 1)


def _middle(bucket: int) -> float:
    return _BASE_S * _RATIO ** (bucket - 0.5) if bucket else _BASE_S


class Distribution:
    """Decayed samples of one duration, seconds. ``mean`` is NaN until the first, ``done`` the mean of those that were
    not cut short; ``updated`` monotonic seconds."""

    __slots__ = ("counts", "done", "mean", "origin", "total", "updated", "weight")

    def __init__(self) -> None:
        self.mean = self.done = math.nan
        self.weight = 0.0  # decayed number of samples in the mean
        self.updated = self.origin = 0.0
        self.counts: dict[int, float] = {}
        self.total = 0.0

    def add(self, seconds: float, now: float) -> None:
        """One measured duration. What is far slower than usual makes itself the usual one slowly."""
        self._add(seconds, now)
        if self.done == self.done:
            self.done += (min(seconds, _AT_MOST_TIMES * self.done) - self.done) / self.weight
        else:
            self.done = seconds

    def _add(self, seconds: float, now: float) -> None:
        if self.total == 0.0:
            self.origin = now
        self.weight = min(self.weight * 0.5 ** ((now - self.updated) / HALF_LIFE_S), _MOST_WEIGHT) + 1.0
        self.updated = now
        self.mean = seconds if self.mean != self.mean else self.mean + (seconds - self.mean) / self.weight
        grown = 2.0 ** ((now - self.origin) / HALF_LIFE_S)
        if grown > _RESCALE:
            self._rescale(now, grown)
            grown = 1.0
        place = _bucket(seconds)
        self.counts[place] = (self.counts[place] if place in self.counts else 0.0) + grown
        self.total += grown

    def add_at_least(self, seconds: float, now: float) -> None:
        """A duration that was cut short at ``seconds``."""
        if self.mean == self.mean and seconds < self.mean and self.quantile(0.5) > seconds:
            return  # it says nothing that is not known: most take longer than that
        self._add(max(seconds, self._beyond(seconds)), now)

    def _beyond(self, seconds: float) -> float:
        """The mean of what took longer than ``seconds``; 0 where nothing did."""
        start = _bucket(seconds)
        longer = [(place, count) for place, count in self.counts.items() if place > start]
        mass = sum(count for _, count in longer)
        return sum(_middle(place) * count for place, count in longer) / mass if mass > 0.0 else 0.0

    def quantile(self, share: float) -> float:
        """The duration below which ``share`` (0..1) of the weight lies; NaN without samples."""
        if self.total <= 0.0:
            return math.nan
        wanted, passed = share * self.total, 0.0
        for place in sorted(self.counts):
            passed += self.counts[place]
            if passed >= wanted:
                return _middle(place)
        return _middle(max(self.counts))

    def _rescale(self, now: float, grown: float) -> None:
        kept = {place: count / grown for place, count in self.counts.items() if count / grown > 1e-6}
        self.counts, self.total, self.origin = kept, sum(kept.values()), now


def _faded(one: Distribution, now: float) -> float:
    """The mean; where it is worse than usual and has not been seen again lately, ever nearer to the usual: what nobody
    asks can show nobody that it is better."""
    age = now - one.updated
    usual = one.quantile(0.5)
    return one.mean if one.mean <= usual else usual + (one.mean - usual) * 0.5 ** ((age - STALE_S) / STALE_S)


class Line:
    """Decayed least squares of seconds over output tokens: what a whole answer takes by its length."""

    __slots__ = ("updated", "w", "wx", "wxx", "wxy", "wy")

    def __init__(self) -> None:
        self.w = self.wx = self.wy = self.wxx = self.wxy = self.updated = 0.0

    def add(self, tokens: int, seconds: float, now: float) -> None:
        decay = 0.5 ** ((now - self.updated) / HALF_LIFE_S)
        self.updated, x = now, float(tokens)
        self.w = self.w * decay + 1.0
        self.wx = self.wx * decay + x
        self.wy = self.wy * decay + seconds
        self.wxx = self.wxx * decay + x * x
        self.wxy = self.wxy * decay + x * seconds

    def fit(self) -> tuple[float, float] | None:
        """(seconds before the first token, seconds a token); None with too little to tell the two apart."""
        spread = self.w * self.wxx - self.wx * self.wx
        if self.w < 3.0 or spread <= 1e-9 * self.w * self.wxx:
            return None
        slope = max(0.0, (self.w * self.wxy - self.wx * self.wy) / spread)
        return max(0.0, (self.wy - slope * self.wx) / self.w), slope


class Congestion:
    """How the time to the first token grows with what is in flight: a decayed least-squares line of its logarithm.

    A provider that does not care how much we send it shows no slope, and is not taken to care.
    """

    __slots__ = ("slope", "updated", "w", "wx", "wxx", "wxy", "wy")

    def __init__(self) -> None:
        self.w = self.wx = self.wy = self.wxx = self.wxy = self.updated = self.slope = 0.0

    def add(self, in_flight: int, seconds: float, now: float) -> None:
        decay, x, y = 0.5 ** ((now - self.updated) / HALF_LIFE_S), float(in_flight), math.log(max(seconds, 1e-4))
        self.updated = now
        self.w = self.w * decay + 1.0
        self.wx = self.wx * decay + x
        self.wy = self.wy * decay + y
        self.wxx = self.wxx * decay + x * x
        self.wxy = self.wxy * decay + x * y
        spread = self.wxx - self.wx * self.wx / self.w
        # Twenty samples' worth of ridge: a slope is believed as far as the samples spread.
        self.slope = max(0.0, (self.wxy - self.wx * self.wy / self.w) / (spread + 20.0)) if self.w > 5.0 else 0.0

    def factor(self, in_flight: int) -> float:
        """The expected time with so much in flight over the mean one; 1/4 to 8."""
        if self.slope <= 0.0:
            return 1.0
        return math.exp(min(2.08, max(-1.39, self.slope * (in_flight - self.wx / self.w))))


class Latency:
    """All that is known of one deployment's times."""

    __slots__ = ("congestion", "gap", "line", "peak", "peak_at", "stream", "ttft", "whole")

    def __init__(self) -> None:
        self.ttft, self.gap, self.stream = Distribution(), Distribution(), Distribution()
        self.whole, self.line = Distribution(), Line()
        self.congestion = Congestion()
        self.peak = 0.0  # seconds until something came back: jumps up at once, decays slowly (peak EWMA)
        self.peak_at = 0.0

    def streamed(self, ttft_s: float, whole_s: float, tokens: int, now: float, beside: int) -> None:
        """A stream ended. ``beside``: what else was in flight when it began."""
        self.congestion.add(beside, ttft_s, now)
        self.ttft.add(ttft_s, now)
        self.stream.add(whole_s, now)
        if tokens > 1:
            self.gap.add(max(0.0, whole_s - ttft_s) / (tokens - 1), now)
        self._felt(ttft_s, now)

    def answered(self, whole_s: float, tokens: int, now: float, beside: int) -> None:
        self.congestion.add(beside, whole_s, now)
        self.whole.add(whole_s, now)
        self.line.add(tokens, whole_s, now)
        self._felt(whole_s, now)

    def cut(self, seconds: float, stream: bool, now: float) -> None:
        """Nothing had come back when it was timed out or cancelled."""
        (self.ttft if stream else self.whole).add_at_least(seconds, now)
        self._felt(max(seconds, self.peak), now)

    def _felt(self, seconds: float, now: float) -> None:
        before = self.peak_now(now)
        # Finagle's peak EWMA: what is worse counts at once, what is better by the decayed share of what was.
        self.peak = seconds if seconds > before else before + 0.3 * (seconds - before)
        self.peak_at = now

    def peak_now(self, now: float) -> float:
        return self.peak * 0.5 ** ((now - self.peak_at) / 30.0) if self.peak else 0.0

    def recovered(self) -> None:
        """It was out and is back: what it took meanwhile says nothing any more."""
        for one in (self.ttft, self.whole):
            if one.done == one.done:
                one.mean = min(one.mean, one.quantile(0.5))

    def expected(self, now: float | None = None) -> tuple[float, float]:
        """(seconds to the first token, seconds between tokens); NaN: nothing is known. From streams, else from what
        whole answers of different lengths tell. With ``now`` bad figures fade (see ``_faded``)."""
        first, gap = self.ttft.mean, self.gap.mean
        if now is not None:
            if now - self.ttft.updated > STALE_S and first == first:
                first = _faded(self.ttft, now)
            if now - self.gap.updated > STALE_S and gap == gap:
                gap = _faded(self.gap, now)
        if first != first or gap != gap:
            line = self.line.fit()
            if line is not None:
                return (line[0] if first != first else first), (line[1] if gap != gap else gap)
        return first, gap

    def first_s(self, now: float | None = None) -> float:
        return self.expected(now)[0]

    def gap_s(self, now: float | None = None) -> float:
        return self.expected(now)[1]

    def usual_s(self, stream: bool) -> tuple[float, float]:
        """Seconds until something usually comes back (the first token of a stream, a whole answer), and until an answer
        is usually complete, by streams or by whole answers, as far as known; 0: unknown.

        What was cut short is not in it: who gets more time for being late will be later.
        """
        first = self.ttft.done if stream else self.whole.done
        total, other = (self.stream.done, self.whole.done) if stream else (first, self.stream.done)
        if total != total:
            total = other if other == other else 0.0
        return (first if first == first else 0.0), total

    def late_s(self, stream: bool) -> tuple[float, float]:
        """(seconds within which most answers came, or first tokens of streams; seconds beyond which one is later than
        nearly all that came); zeros where too little is known. What was cut short moves neither by much: a deployment
        that has fallen silent would be given ever more time."""
        one = self.ttft if stream else self.whole
        if one.done != one.done or one.weight < 3.0:
            return 0.0, 0.0
        most = max(0.5, min(one.quantile(0.95), 4.0 * one.done), 1.5 * one.done)
        return most, max(1.0, 3.0 * most)

    def quantile_s(self, share: float, stream: bool) -> float:
        """Of the first token of streams, or of whole answers, not below the truth; NaN where too little is known."""
        one = self.ttft if stream else self.whole
        return one.quantile(share) * _RATIO if one.weight >= _LEAST_SAMPLES else math.nan
