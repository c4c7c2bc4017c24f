"""``Report``: what a check has found, as values and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning", "info"]
_ORDER = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing. ``code`` names its kind, ``where`` the place in the settings (``rules[3] 'premium'``)."""

    level: Level
    code: str
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A request of the sample that nothing may take: its place in the sample, its id if it has one, and why."""

    number: int
    request_id: str | None
    why: str


@dataclass(slots=True)
class Coverage:
    """What became of a sample: rule → requests that it ``fired`` on (0 included), those that ``fell_through`` to the
    router's own objective, those that named a model or another router (``direct``), those that nothing may take
    (``refused``), those that are none or that a record tells too little of, the rules that ``never`` fired, and
    conditions that could not be evaluated, with how often."""

    requests: int = 0
    fired: dict[str, int] = field(default_factory=dict)
    fell_through: int = 0
    direct: int = 0
    undecidable: int = 0
    unreadable: int = 0
    refused: list[Refused] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    not_evaluated: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, the worst first; ``coverage`` where there was a sample."""

    findings: list[Finding]
    coverage: Coverage | None = None

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return not self.errors

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "warning"]

    def model_dump(self) -> dict[str, Any]:
        """Plain values (JSON-ready)."""
        return {"ok": self.ok, **asdict(self)}

    def text(self) -> str:
        """Several lines that a person can read."""
        counts = {level: sum(one.level == level for one in self.findings) for level in _ORDER}
        lines = [", ".join(f"{n} {level if n == 1 or level == 'info' else level + 's'}" for level, n in counts.items())]
        for finding in self.findings:
            place = f"{finding.where}: " if finding.where else ""
            message = finding.message.replace("\n", "\n         ")
            lines.append(f"{finding.level:<7}  {place}{message}  [{finding.code}]")
        if self.coverage is not None:
            lines += ["", *_coverage(self.coverage)]
        return "\n".join("".join(ch if ch.isprintable() or ch == "\n" else "�" for ch in line) for line in lines)

    __str__ = text


def made_of(findings: Sequence[Finding], coverage: Coverage | None = None) -> Report:
    return Report(sorted(findings, key=lambda finding: _ORDER.index(finding.level)), coverage)


def _coverage(found: Coverage) -> list[str]:
    rows = [*((f"rule {name}", count) for name, count in found.fired.items()), ("no rule", found.fell_through)]
    for label, count in (
        ("by name, without rules", found.direct),
        ("nothing may take", len(found.refused)),
        ("undecidable", found.undecidable),
        ("no request", found.unreadable),
    ):
        rows += [(label, count)] if count else []
    width = max(len(label) for label, _ in rows)
    return [f"sample of {found.requests}", *(f"  {label:<{width}}  {count}" for label, count in rows)]
