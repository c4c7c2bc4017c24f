"""What this package raises.

::

    RouterError
    ├── SpecError                    a router, deployment, budget or call option is wrong (also a ValueError)
    │   └── RouterStringError        a router string does not parse; shows a caret at the place
    ├── NoCandidateError             no deployment may take this request; each with its reason
    ├── BudgetExceededError          a budget has nothing left for this request
    ├── DeadlineExceededError        the call's deadline passed before an attempt could answer (also a TimeoutError)
    ├── StreamInterruptedError       a stream broke after content had been handed over
    ├── ResourceNotFoundError        no such router, version or record
    ├── VersionConflictError         somebody else has written a version meanwhile
    ├── StoreError                   the file of routers or requests cannot be used, or is damaged
    ├── ResourceAlreadyExistsError   that name is taken
    └── TrainingError                a training job cannot go on

If attempts were made and all failed, the *provider's* exception is raised as itself, with notes for the earlier
attempts; the classes above are for what this package decides. Every exception raised by a routed call carries the
record of the call: ``RouteResult.of(exception)``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .redact import redact


class RouterError(Exception):
    """Base of everything this package decides to raise."""


class SpecError(RouterError, ValueError):
    """A setting is wrong. The message names the field, the value and what would be right."""


class RouterStringError(SpecError):
    """A router string does not parse.

    Attributes: ``text`` (the whole string), ``position`` (0-based offset of the fault), ``reason``.
    """

    def __init__(self, text: str, position: int, reason: str) -> None:
        self.text = text
        self.position = max(0, min(position, len(text)))
        self.reason = reason
        super().__init__(self._render())

    def _render(self) -> str:
        # A window of at most 60 characters around the fault; control characters never reach a terminal.
        start = max(0, self.position - 40)
        window = self.text[start : start + 60]
        shown = "".join(c if c.isprintable() else "�" for c in window)
        lead, tail = ("…" if start else ""), ("…" if start + 60 < len(self.text) else "")
        caret = " " * (len(lead) + self.position - start) + "^"
        return f"router string: {self.reason} (at character {self.position})\n  {lead}{shown}{tail}\n  {caret}"

    def __reduce__(self) -> Any:
        return (type(self), (self.text, self.position, self.reason))


class NoCandidateError(RouterError):
    """No deployment may take this request.

    Attributes: ``rejected`` (deployment name → reason with its numbers), ``retry_after_s`` (when waiting would
    help, seconds; else None).
    """

    def __init__(self, message: str, rejected: Mapping[str, str] | None = None, retry_after_s: float | None = None):
        self.rejected = dict(rejected or {})
        self.retry_after_s = retry_after_s
        lines = [message, *(f"  {name}: {reason}" for name, reason in list(self.rejected.items())[:20])]
        if len(self.rejected) > 20:
            lines.append(f"  … and {len(self.rejected) - 20} more")
        if retry_after_s is not None:
            lines.append(f"  retry after {retry_after_s:.3g} s")
        super().__init__("\n".join(lines))


class BudgetExceededError(NoCandidateError):
    """A budget has nothing left for this request.

    Attributes: ``budget`` (its name), ``key`` (the value it is counted under), ``limit_usd``, ``spent_usd``
    (settled + reserved), ``resets_at`` (ISO 8601, or None for a total budget).
    """

    def __init__(
        self,
        budget: str,
        key: str | None,
        limit_usd: float,
        spent_usd: float,
        resets_at: str | None,
        *,
        rejected: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.budget, self.key = budget, key
        self.limit_usd, self.spent_usd, self.resets_at = limit_usd, spent_usd, resets_at
        who = f" of {key!r}" if key is not None else ""
        when = f"resets at {resets_at}" if resets_at else "never resets"
        left = limit_usd - spent_usd
        state = "is spent" if left <= 0 else f"has ${left:.6f} left, too little for this request"
        super().__init__(
            f"budget {budget!r}{who} {state}: ${spent_usd:.6f} of ${limit_usd:.6f} settled or reserved ({when})",
            rejected,
            retry_after_s,
        )


class DeadlineExceededError(RouterError, TimeoutError):
    """The deadline of the call passed before an attempt answered."""


class StreamInterruptedError(RouterError):
    """A stream broke after content had been handed over and ``midstream`` is "raise" (or nothing else could answer).

    Attributes: ``partial_text`` (what had been received), ``usage`` (tokens known so far, or None), ``reason``.
    The provider's own exception, where there is one, is ``__cause__``.
    """

    def __init__(self, reason: str, partial_text: str = "", usage: Mapping[str, int] | None = None) -> None:
        self.reason, self.partial_text, self.usage = reason, partial_text, usage
        super().__init__(f"the stream broke after {len(partial_text)} characters: {reason}")


class ResourceNotFoundError(RouterError, LookupError):
    """No such router, version, judge, job or record."""


class VersionConflictError(RouterError):
    """Somebody else has written a version since this one was read. Nothing is lost: ``refresh()``, look, try again."""


class StoreError(RouterError):
    """The store's file cannot be opened, read or written: no permission, a full disk, locked, damaged."""


class ResourceAlreadyExistsError(RouterError):
    """That name is taken."""


class TrainingError(RouterError):
    """A training job cannot go on."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for a near miss, else an empty string."""
    near = difflib.get_close_matches(str(name)[:80], list(known), n=1, cutoff=0.6)
    return f" (did you mean {redact(near[0])!r}?)" if near else ""


def no_version(router: str, number: int, known: Sequence[int]) -> ResourceNotFoundError:
    """The error for a version that a router does not have."""
    some = ", ".join(map(str, known[-20:]))
    has = "it was deleted" if not known else f"its version is {some}" if len(known) == 1 else f"its versions are {some}"
    return ResourceNotFoundError(f"router {router!r} has no version {number}; {has}")
