"""The demo's workload: who asks what, in which of litellm's four modes, and with which of the router's dials.

``workload()`` is deterministic: the same seed gives the same calls. Each call holds exactly the keyword arguments that
go to ``litellm.completion`` or ``litellm.acompletion``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Literal

from questions import (
    CONVERSATIONS,
    ELSEWHERE,
    EXTRACT,
    MINUTES,
    ON_MINUTES,
    ON_REPORT,
    PICTURE_QUESTIONS,
    REPORT,
    SNIPPETS,
    TOOL_QUESTIONS,
    TOOLS,
    TOPICS,
)

Mode = Literal["sync", "async", "stream", "async stream"]
Messages = list[dict[str, Any]]

# A real picture of 1 × 1 pixels: enough to make a request one that only a model with eyes may take.
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
SYSTEM = {"role": "system", "content": "You are a helpful assistant. Say so when you are not sure."}
MANNERS = ["", "Please keep it short.", "I am a beginner.", "At most 100 words.", "I know the basics already."]


@dataclass(frozen=True)
class Ask:
    """One call: who makes it, what it is about, how it is made, and litellm's keyword arguments for it."""

    user: str
    topic: str
    mode: Mode
    kwargs: dict[str, Any]

    @property
    def model(self) -> str:
        return str(self.kwargs["model"])


def workload(count: int = 320, seed: int = 11) -> list[Ask]:
    """``count`` calls in the order in which they arrive."""
    rng = random.Random(seed)
    sources = {name: shuffled(list(make(rng)), rng) for name, make in KINDS.items()}
    kinds = [name for name, share in SHARES.items() for _ in range(round(share * count))]
    kinds = shuffled(list(islice(cycle(kinds), count)), rng)
    questions = {name: cycle(items) for name, items in sources.items()}
    people = rng.choices(list(PEOPLE), weights=[person.weight for person in PEOPLE.values()], k=count)
    return [_ask(user, kind, next(questions[kind]), rng) for user, kind in zip(people, kinds, strict=True)]


def shuffled(items: list[Any], rng: random.Random) -> list[Any]:
    return rng.sample(items, len(items))


# --------------------------------------------------------------------------- what is asked


def _short(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything on everyday topics, twice: people ask the same things with different manners."""
    for topic, (templates, things) in TOPICS.items():
        for question in (template.format(thing) for template in templates for thing in things):
            open_ended = question.endswith("?")
            for manner in rng.sample(MANNERS, 2 if open_ended else 1):
                yield topic, {"messages": [SYSTEM, user(f"{question} {manner}".strip() if open_ended else question)]}


def _foreign(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    for question in ELSEWHERE:
        yield "not English", {"messages": [user(question)]}


def _conversations(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    for turns, endings in CONVERSATIONS:
        roles = cycle(["user", "assistant"])
        so_far = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
        if so_far[-1]["role"] == "user":
            so_far.append({"role": "assistant", "content": "I see. Tell me more, and what you would like me to do."})
        for ending in endings:
            yield "conversation", {"messages": [SYSTEM, *so_far, user(ending)]}


def _documents(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    for paragraphs, tasks in ((REPORT, ON_REPORT), (MINUTES, ON_MINUTES)):
        for task in tasks:
            for kept in (len(paragraphs), len(paragraphs) - 1, len(paragraphs) - 2):
                text = "\n\n".join(sorted(rng.sample(paragraphs, kept), key=paragraphs.index))
                yield "document", {"messages": [user(f"{task}\n\n---\n{text}")]}


def _logs(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Part of a server's log, in which something goes wrong: the long ones, up to about 8,000 tokens."""
    for service in ("checkout", "search", "mailer", "auth", "images", "export", "billing", "reports"):
        lines, breaks_at = [], rng.randrange(150, 250)
        for number in range(rng.randrange(300, 900)):
            took = rng.randrange(900, 4000) if number > breaks_at and rng.random() < 0.4 else rng.randrange(8, 60)
            clock = f"14:{number // 60:02}:{number % 60:02}"
            lines.append(f"{clock} {service}[{rng.randrange(3)}] {504 if took > 3000 else 200} {took} ms")
        ask = f"Here is the log of our {service} service. When did it begin to misbehave, and what would you look at?"
        yield "long log", {"messages": [user(ask + "\n\n" + "\n".join(lines))]}


def _json(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    for snippet in SNIPPETS:
        content = EXTRACT.format(snippet)
        yield "JSON", {"messages": [user(content)], "response_format": {"type": "json_object"}, "max_tokens": 300}


def _tools(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    for question, _, _ in TOOL_QUESTIONS:
        yield "tools", {"messages": [SYSTEM, user(question)], "tools": TOOLS}


def _pictures(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    for question in PICTURE_QUESTIONS:
        parts = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": PIXEL}}]
        yield "picture", {"messages": [user(parts)]}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


KINDS: dict[str, Callable[[random.Random], Iterator[tuple[str, dict[str, Any]]]]] = {
    "short": _short,
    "foreign": _foreign,
    "conversation": _conversations,
    "document": _documents,
    "log": _logs,
    "json": _json,
    "tools": _tools,
    "picture": _pictures,
}
SHARES = {
    "short": 0.55,
    "foreign": 0.09,
    "conversation": 0.08,
    "document": 0.07,
    "log": 0.03,
    "json": 0.05,
    "tools": 0.06,
    "picture": 0.05,
}


# --------------------------------------------------------------------------- who asks, and how


@dataclass(frozen=True)
class Person:
    """How much somebody asks, and the router settings that go with a call: one of ``habits``, at random."""

    weight: float
    habits: list[dict[str, Any]]


ROUTER = {"model": "router/demo"}
PEOPLE: dict[str, Person] = {
    # Takes the router as it is.
    "ann": Person(5, [ROUTER]),
    # Wants the best, whatever it costs; as the budget runs out, the answers come from ever cheaper models.
    "bilal": Person(5, [{**ROUTER, "willingness_to_pay": 0.05, "max_tokens": 400}]),
    # Careful: a tenth of quality is worth a fiftieth of a cent. Now and then asks for the impossible.
    "chen": Person(4, [{**ROUTER, "willingness_to_pay": 0.0002}] * 4 + [{**ROUTER, "max_cost": 0.000_02}]),
    # Writes router strings: weights, thresholds, the fastest endpoint of one model, a chain.
    "dora": Person(
        4,
        [
            {"model": "router@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03"},
            {"model": "router/demo@quality>0.7|cost<5"},
            {"model": "brook-large@lowest-ttft"},
            {"model": "openai/fjord-medium->router", "routing": {"midstream": "raise"}},
        ],
    ),
    # Every call bounded in dollars: the router caps the output so that the bound holds.
    "emeka": Person(4, [{**ROUTER, "max_cost": 0.004}, {**ROUTER, "max_cost": 0.001}]),
    # In a hurry: streams only, and no model whose first token is known to take longer than half a second.
    "farah": Person(4, [{**ROUTER, "willingness_to_pay": 0.02, "routing": {"max_ttft_ms": 500}}]),
}
MODES: dict[str, list[Mode]] = {
    "ann": ["sync", "async", "stream", "async stream"],
    "bilal": ["sync", "async"],
    "chen": ["sync", "async"],
    "dora": ["sync", "async", "stream"],
    "emeka": ["sync", "async"],
    "farah": ["stream", "async stream"],
}


def _ask(name: str, kind: str, question: tuple[str, dict[str, Any]], rng: random.Random) -> Ask:
    topic, said = question
    mode = rng.choice(MODES[name])
    kwargs = {**said, **rng.choice(PEOPLE[name].habits), "user": name, "timeout": 20}
    if "stream" in mode:
        kwargs["stream"] = True
    return Ask(name, topic, mode, kwargs)
