"""What another version's answers would have been worth, from scores that were given to this one's.

Each scored request says: this model was chosen, with this probability (the propensity), and its answer was judged so.
With ``w`` the probability with which the new version chooses that model over the propensity, ``r`` the score in 0..1:

* IPS ``mean(w·r)``: unbiased where the log could have made every choice of the new version; noisy where w is large.
  Horvitz and Thompson 1952, "A generalization of sampling without replacement from a finite universe".
* SNIPS ``sum(w·r)/sum(w)``: a little bias for much less noise; its interval by the delta method.
  Swaminathan and Joachims 2015, "The self-normalized estimator for counterfactual learning" (NIPS).
* DR: a model of the score (here the mean of each model's scores, shrunk to the mean of all) corrected by the weighted
  residuals; consistent where either the propensities or that model are right. Fitted on the other of two halves.
  Dudík, Langford and Li 2011, "Doubly robust policy evaluation and learning" (ICML).

Intervals are normal approximations and take requests for independent. Effective sample size: (sum w)²/sum(w²) (Kish).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

FEWEST = 30  # scores, and effective ones, below which no interval is to be believed (the usual rule of thumb)
LEAST_EFFECTIVE = 0.10  # of the scores
LARGEST_SHARE = 0.20  # of all weight, on one request
SHRINK = 10.0  # scores of the general mean that are mixed into each model's own
_UNTRIED = 0.05


@dataclass(frozen=True, slots=True)
class Scored:
    """One judged request. ``chosen`` the model of the log's first choice, ``propensity`` its probability then (of the
    model, all its deployments together); ``policy`` the new version's probability of each model."""

    request_id: str
    chosen: str
    score: float
    propensity: float
    policy: Mapping[str, float]

    @property
    def weight(self) -> float:
        return self.policy.get(self.chosen, 0.0) / self.propensity


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean score and its confidence interval; None where there are too few scores to have one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """Scores of 0..1: ``logged_mean`` as they were given, ``ips``, ``snips`` and ``dr`` what the new version's would
    have been (None: nothing in the log tells). ``scored`` requests were judged and can be weighed; ``matches`` of them
    chose what the new version may choose; ``mean_weight`` is about 1 where the log covers the new version."""

    scored: int
    matches: int
    effective_sample_size: float
    mean_weight: float
    largest_weight_share: float
    logged_mean: Estimate
    ips: Estimate | None
    snips: Estimate | None
    dr: Estimate | None


def evaluate(samples: Sequence[Scored], confidence: float) -> tuple[Quality | None, list[str]]:
    """The estimates, and what speaks against believing them. None where nothing was scored."""
    if not samples:
        return None, []
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    weights = [sample.weight for sample in samples]
    scores = [sample.score for sample in samples]
    total = math.fsum(weights)
    covered = total > 0.0
    quality = Quality(
        scored=len(samples),
        matches=sum(weight > 0.0 for weight in weights),
        effective_sample_size=total**2 / math.fsum(w * w for w in weights) if covered else 0.0,
        mean_weight=total / len(samples),
        largest_weight_share=max(weights) / total if covered else 0.0,
        logged_mean=_mean(scores, z),
        ips=_mean([w * r for w, r in zip(weights, scores, strict=True)], z) if covered else None,
        snips=_self_normalised(weights, scores, z) if covered else None,
        dr=_mean(_doubly_robust(samples, weights), z) if covered else None,
    )
    return quality, _doubts(quality, samples, weights)


def _mean(values: Sequence[float], z: float) -> Estimate:
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Estimate(mean)
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)
    return Estimate(mean, mean - z * error, mean + z * error)


def _self_normalised(weights: Sequence[float], scores: Sequence[float], z: float) -> Estimate:
    total = math.fsum(weights)
    value = math.fsum(w * r for w, r in zip(weights, scores, strict=True)) / total
    if len(weights) < 2:
        return Estimate(value)
    spread = math.fsum((w * (r - value)) ** 2 for w, r in zip(weights, scores, strict=True))
    error = math.sqrt(spread) / total
    return Estimate(value, value - z * error, value + z * error)


def _doubly_robust(samples: Sequence[Scored], weights: Sequence[float]) -> list[float]:
    """One value a request: what the score's model (of the other half) says of the new choice, and the correction."""
    halves = [_half(sample.request_id) for sample in samples]
    fitted = {
        half: _Means([s for s, h in zip(samples, halves, strict=True) if h != half] or samples) for half in (0, 1)
    }
    values = []
    for sample, weight, half in zip(samples, weights, halves, strict=True):
        means = fitted[half]
        direct = math.fsum(share * means.of(model) for model, share in sample.policy.items())
        values.append(direct + weight * (sample.score - means.of(sample.chosen)))
    return values


def _half(request_id: str) -> int:
    """0 or 1, the same in every process."""
    return hashlib.blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] & 1


class _Means:
    """The mean score of each model, shrunk to that of all."""

    def __init__(self, samples: Sequence[Scored]) -> None:
        self.all = math.fsum(sample.score for sample in samples) / len(samples)
        scores: dict[str, list[float]] = {}
        for sample in samples:
            scores.setdefault(sample.chosen, []).append(sample.score)
        self._of = {
            model: (math.fsum(given) + SHRINK * self.all) / (len(given) + SHRINK) for model, given in scores.items()
        }

    def of(self, model: str) -> float:
        return self._of.get(model, self.all)


def _doubts(quality: Quality, samples: Sequence[Scored], weights: Sequence[float]) -> list[str]:
    count, effective = quality.scored, quality.effective_sample_size
    doubts = []
    if count < FEWEST:
        doubts.append(f"only {count} requests are scored; below {FEWEST} the intervals mean little")
    certain = all(sample.propensity >= 1.0 - 1e-9 for sample in samples)
    if certain:
        doubts.append(
            "every logged choice was certain (propensity 1): the estimates hold only for requests whose choice does "
            "not change; a SPLIT rule with a small weight on the alternative makes the log tell more"
        )
    if not quality.matches:
        return [*doubts, "no overlap: the new version never chooses what was chosen; nothing can be estimated"]
    if effective < FEWEST or effective < LEAST_EFFECTIVE * count:
        doubts.append(
            f"the effective sample size is {effective:.1f} of {count} scores: few requests carry most of the weight"
        )
    if quality.largest_weight_share > LARGEST_SHARE:
        doubts.append(f"one request carries {quality.largest_weight_share:.0%} of all weight")
    return doubts + _gaps(quality, samples, weights, certain)


def _gaps(quality: Quality, samples: Sequence[Scored], weights: Sequence[float], certain: bool) -> list[str]:
    """Where the log does not cover the new version, or the propensities are not what they say."""
    tried = {sample.chosen for sample in samples}
    untried: dict[str, float] = {}
    for sample in samples:
        for model, share in sample.policy.items():
            if model not in tried:
                untried[model] = untried.get(model, 0.0) + share / len(samples)
    gaps = []
    if (share := math.fsum(untried.values())) > _UNTRIED:
        gaps.append(f"{share:.0%} of the new choices go to models without a score: {', '.join(sorted(untried)[:5])}")
    spread = _mean(weights, 4.0)
    low, high = spread.low or 0.0, spread.high or math.inf
    off = abs(spread.value - 1.0) > _UNTRIED and not low <= 1.0 <= high
    if off and not certain and not gaps and len(weights) >= FEWEST:
        gaps.append(
            f"weights are {spread.value:.2f} on average and should be 1: the log could not make some of the new "
            "choices, or its propensities are not right; trust SNIPS before IPS"
        )
    return gaps
