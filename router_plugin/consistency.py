"""Whether several answers of one model to one question say the same: the vote, and the check that asks for it."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import SpecError
from .forms import form
from .redact import shown

MOST_SAMPLES = 16


class SelfConsistent:
    """See ``self_consistent``."""

    router_plugin_reads_response = True

    def __init__(self, samples: int, agree: float, key: Callable[..., Any] | None) -> None:
        self.samples, self.agree, self._key = samples, agree, key
        self.needed = max(1, math.ceil(round((agree - 0.005) * samples, 9)))
        self.__name__ = self.__qualname__ = f"self_consistent({samples}, {agree:g})"

    def __repr__(self) -> str:
        return self.__name__

    def __call__(self, response: Any) -> Any:
        return self.form(response, {})

    def form(self, response: Any, kwargs: Mapping[str, Any]) -> Any:
        """What the answer comes to; None agrees with nothing."""
        if self._key is None:
            return form(response)
        value = self._key(response, kwargs) if takes_both(self._key) else self._key(response)
        try:
            hash(value)
        except TypeError:
            return repr(value)
        return value

    def decided(self, forms: Sequence[Any]) -> bool:
        """Whether further answers could not change the vote."""
        most, second = _most(forms)
        left = self.samples - len(forms)
        return left <= 0 or most + left < self.needed or (most >= self.needed and most > second + left)

    def vote(self, forms: Sequence[Any]) -> tuple[int, str | None]:
        """Which answer the majority gives (the first of it), and why it is none, in words."""
        counts = Counter(one for one in forms if one is not None)
        most = max(counts.values(), default=0)
        chosen = next((place for place, one in enumerate(forms) if one is not None and counts[one] == most), 0)
        if most >= self.needed:
            return chosen, None
        return chosen, f"self_consistent: {most} of {len(forms)} answers agree, {self.needed} of {self.samples} have to"


def _most(forms: Sequence[Any]) -> tuple[int, int]:
    found = sorted(Counter(one for one in forms if one is not None).values(), reverse=True)
    return (*found, 0, 0)[0], (*found, 0, 0)[1]


def self_consistent(samples: int = 3, agree: float = 0.67, key: Callable[..., Any] | None = None) -> SelfConsistent:
    """A check: the model is asked up to ``samples`` times (the answer itself is one of them), one after another, and
    fewer than the share ``agree`` of the answers say the same. Where enough do, one of those is handed over.

    ``agree`` counts to two decimals (0.67 is two of three). Asking ends as soon as the vote is decided; an answer that
    failed, was cut short or could not be paid for agrees with none. What is compared is in ``router_plugin.forms``, or
    what ``key``, a function of the response, gives (None: nothing that could agree). Further answers are asked for at
    the call's own temperature, at 1.0 where that is 0, and with other seeds; a temperature that a deployment's
    ``params`` fix stays.

    Sources: self-consistency (Wang et al. 2023) as the check of a cascade (Yue et al. 2023, "Large language model
    cascades with mixture of thoughts representations"), ended early (Aggarwal et al. 2023); by 3 samples, as two that
    agree are the cheapest evidence there is.
    Raises: SpecError for values that are none.
    """
    fault = samples_fault(samples) or agree_fault(agree)
    if fault is not None:
        raise SpecError(f"self_consistent: {fault}")
    if key is not None and not callable(key):
        raise SpecError(f"self_consistent: key: must be a function of the response, not {shown(key)}")
    return SelfConsistent(samples, float(agree), key)


def samples_fault(samples: Any) -> str | None:
    """What is wrong with a number of samples; None where nothing is."""
    if isinstance(samples, bool) or not isinstance(samples, int) or not 2 <= samples <= MOST_SAMPLES:
        return f"samples: must be a whole number from 2 to {MOST_SAMPLES}, not {shown(samples)}"
    return None


def agree_fault(agree: Any) -> str | None:
    """What is wrong with a share that has to agree; None where nothing is."""
    if isinstance(agree, bool) or not isinstance(agree, (int, float)) or not 0 < agree <= 1:
        return f"agree: must be a number above 0 and at most 1, not {shown(agree)}"
    return None


def takes_both(check: Any) -> bool:
    """Whether a check has a second parameter that has to be given: it gets the call's keyword arguments."""
    try:
        parameters = inspect.signature(check).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters) > 1
