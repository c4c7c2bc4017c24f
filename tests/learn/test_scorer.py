"""A predictor as a router's scorer: the same figures, models that it does not know, reasons, speed."""

from __future__ import annotations

import itertools
import math
import re
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toy import judged

from router_plugin import Deployment, Router
from router_plugin.errors import SpecError, TrainingError
from router_plugin.learn import Predictor, fit
from router_plugin.learn.prompts.features import NAMES, analyse
from router_plugin.learn.prompts.reading import HEAD, TAIL
from router_plugin.records import Request
from router_plugin.snapshot import Score, Scores

SUM = "Solve the value of 12 * 7 + 12 for garden number 3."


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return fit(judged())


def request(text: str) -> Request:
    return Request(0, 10, 10, 10, None, 1, False, messages=[{"role": "user", "content": text}])


def test_a_score_is_what_predict_says(predictor: Predictor) -> None:
    asked = request(SUM)
    told = predictor.predict([asked.messages])
    scores = predictor.score(asked, predictor.models)
    for j, score in enumerate(scores):
        assert score is not None
        assert score.quality == pytest.approx(told.quality[0, j], abs=1e-5)
        assert score.output_tokens == pytest.approx(told.output_tokens[0, j], rel=1e-4)
        assert score.quality_std == pytest.approx(told.quality_std[0, j], abs=1e-5)


def test_a_model_is_known_by_its_name_with_a_provider_too(predictor: Predictor) -> None:
    plain, prefixed, unknown = predictor.score(request(SUM), ["adder", "openai/adder", "openai/gpt-4o"])
    assert plain == prefixed
    assert unknown is None


def test_a_router_goes_by_it(predictor: Predictor) -> None:
    listed = [
        Deployment(f"openai/{m}", input_cost_per_token=1e-6, output_cost_per_token=1e-6) for m in predictor.models
    ]
    router = Router("learned", listed, scorer=predictor)
    chosen = {
        text: router.route(model="router@q:1", messages=[{"role": "user", "content": text}]).model
        for text in (SUM, "Write a short story about the winter and the sailor.")
    }
    assert list(chosen.values()) == ["openai/adder", "openai/teller"]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [3, None, "text"],
        [{"role": "user"}],
        [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": 3}]}],
        [{"role": "assistant", "content": None, "tool_calls": []}],
    ],
)
def test_no_conversation_is_too_odd(predictor: Predictor, messages: list[Any]) -> None:
    asked = request("")
    asked.messages = messages
    assert all(score is not None for score in predictor.score(asked, predictor.models))


def test_the_newest_human_turn_counts() -> None:
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "zebra"},
        {"role": "assistant", "content": "giraffe"},
        {"role": "user", "content": [{"type": "text", "text": "walrus"}]},
        {"role": "assistant", "content": "penguin"},
    ]
    words = set(analyse(talk)[0].tolist())
    assert set(analyse("walrus")[0].tolist()) <= words
    assert not set(analyse("zebra")[0].tolist()) & words


def test_explain_names_what_moved_the_prediction(predictor: Predictor) -> None:
    reasons = predictor.explain(SUM, "adder", most=200)
    told = predictor.predict([SUM]).quality[0, predictor.models.index("adder")]
    mean = predictor.quality.mean[predictor.models.index("adder")]
    assert sum(value for _, value in reasons) == pytest.approx(told - mean, abs=1e-4) or told == 1.0
    assert [abs(v) for _, v in reasons] == sorted((abs(v) for _, v in reasons), reverse=True)
    assert any(name == "value" and value > 0 for name, value in reasons)
    with pytest.raises(SpecError, match="model: must be one of"):
        predictor.explain(SUM, "nobody")


def test_head_and_tail_of_a_long_prompt_are_read() -> None:
    text = "walrus " + "filler " * 100_000 + "penguin"
    words = set(analyse(text)[0].tolist())
    assert {int(analyse(w)[0][0]) for w in ("walrus", "penguin")} <= words
    assert len(analyse("word " * HEAD)[0]) <= HEAD + TAIL


def plain_features(text: str) -> tuple[set[int], dict[str, float]]:
    """Version 1 of the features, worked out word by word."""
    base, whole = 0x9E3779B97F4A7C15 | 1, (1 << 64) - 1

    def bucket(hashed: int) -> int:
        for _ in range(2):
            hashed = (hashed ^ hashed >> 32) * 0xD6E8FEB86659FD93 & whole
        return hashed >> 46

    def hashed(word: bytes) -> int:
        return sum((48 if 48 <= byte < 58 else byte) * base**i for i, byte in enumerate(word)) & whole

    raw = text.encode("utf-8", "replace")
    words = re.findall(rb"[A-Za-z0-9\x80-\xff]+", text.lower().encode("utf-8", "replace"))
    lone = [hashed(word) for word in words]
    stems = [hashed(word[:5]) + 0xE7037ED1A0B428DB & whole for word in words if len(word) > 5]
    pairs = [a * 0xA0761D6478BD642F + b & whole for a, b in itertools.pairwise(lone)]
    lines = [len(line) + 1 for line in raw.split(b"\n")]
    return {bucket(one) for one in (*lone, *stems, *pairs)}, {
        "length": math.log1p(len(text)),
        "words": math.log1p(len(words) or 1),
        "capitals": len(re.findall(rb"[A-Z]", raw)) / (len(raw) + 1),
        "long words": sum(len(word) > 8 for word in words) / (len(words) or 1),
        "variety": len({bucket(one) for one in lone}) / (len(words) or 1),
        "lines": math.log1p(len(lines)),
        "longest line": math.log1p(max(lines)),
        "last line": math.log1p(lines[-1]),
        "line spread": math.log1p(float(np.std(lines))),
        "word length": sum(map(len, words)) / (len(words) or 1),
        "character '?'": math.log1p(raw.count(b"?")),
        **({"number tokens": sum(word[:1].isdigit() for word in words) / (len(words) or 1)} if text.isascii() else {}),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        "a",
        "7",
        "abcde",
        "Abcdef!",
        "\n\n",
        "\ttabs\tand\n\nbreaks\n",
        "What is 12 * 345? Explain, isn't it?",
        "12 and x12, in\ntwo lines",
        "Straße\nﬀ " * 30,
        "Ünïcödé ΣΊΣΥΦΟΣ 日本語 🙂 K",
        "lone \ud83d surrogate",
        "def f(x):\n    return [x ** 2 for _ in range(10)]\n" * 20,
    ],
)
def test_the_features_are_those_of_their_rule(text: str) -> None:
    buckets, surface = analyse(text)
    expected, figures = plain_features(text)
    assert buckets.tolist() == sorted(expected)
    told = dict(zip(NAMES, surface.tolist(), strict=True))
    assert {name: told[name] for name in figures} == pytest.approx(figures, abs=1e-12)
    assert np.isfinite(surface).all()


def test_a_word_is_weighted_in_a_table_as_it_is_by_itself(predictor: Predictor) -> None:
    space, weights = predictor.space, predictor.quality.weights
    table = space.table(weights[: len(space.buckets)])
    for text in (SUM, SUM * 100, "nothing known", ""):
        buckets, _ = analyse(text)
        columns, values, known = space.words(buckets)
        summed, share = space.sums(buckets, table)
        assert summed == pytest.approx(values @ weights[columns], abs=1e-6)
        assert share == pytest.approx(known, abs=1e-6)


@pytest.mark.parametrize("curved", [True, False])
@pytest.mark.parametrize("margin", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("odds", [1e-6, 0.3, 2.0, 2.1, 20.0])
def test_one_prompt_is_settled_as_many_are(predictor: Predictor, odds: float, margin: float, curved: bool) -> None:
    curve = np.array([[0.0, 0.2, 0.6, 1.0], [0.0, 0.1, 0.7, 0.9]]) if curved else None
    head = replace(predictor.quality, margin=margin, curve=curve)
    for told in np.random.default_rng(1).uniform(-0.2, 1.2, (20, len(predictor.models))):
        values, unsure = head.settled(told, odds, 1.5, head.unsure())
        expected, std = head.settled(told[None, :], np.array([odds]), np.array([1.5]), head.unsure())
        assert values == pytest.approx(expected[0], abs=1e-12)
        assert unsure == pytest.approx(std[0], abs=1e-12)


@pytest.mark.parametrize("scores", [(0.9, 0.2), (0.3, 0.6)])
def test_of_two_models_one_prompt_is_told_as_many_are(scores: tuple[float, float]) -> None:
    rows = [{"prompt": f"{row['prompt']} {i}", "scores": dict(zip("ab", scores, strict=True))}
            for i, row in enumerate(judged(120))]  # fmt: skip
    two = fit(rows)
    two.quality.lead, two.quality.margin = 0.2, 0.05
    for text in (SUM, "A prompt of no known kind, somewhat longer than the others are. " * 9, "Why?"):
        (told,) = two.predict([text]).quality
        found = two.score(request(text), two.models)
        assert [one.quality for one in found if one] == pytest.approx(told.tolist(), abs=1e-6)


def test_letters_that_grow_when_lower_cased_do_not_stop_the_reading() -> None:
    assert len(analyse("İ " * 100 + "a b c d")[0]) > 4


def test_a_long_prompt_takes_no_longer(predictor: Predictor) -> None:
    def seconds(asked: Request) -> float:
        best = 9.0
        for _ in range(7):
            begin = time.perf_counter()
            for _ in range(10):
                predictor.score(asked, predictor.models)
            best = min(best, time.perf_counter() - begin)
        return best

    words = "some ordinary words of a prompt that goes on "
    assert seconds(request(words * 20_000)) < 2.5 * seconds(request(words * 70))


def test_an_encoder_is_asked_once_a_text_and_needed_again_when_loading(tmp_path: Any) -> None:
    asked: list[str] = []

    def embed(texts: Any) -> Any:
        asked.extend(texts)
        return [[float("story" in t), float("value" in t), len(t) / 100] for t in texts]

    rows = judged(60)
    predictor = fit(rows, encoder=embed)
    assert len(asked) == 60
    first = predictor.predict([SUM, SUM]).quality
    assert len(asked) == 61
    assert predictor.score(request(SUM), ["adder"])[0] is not None
    assert predictor.explain(SUM, "adder")
    predictor.save(tmp_path / "e")
    assert np.allclose(Predictor.load(tmp_path / "e", encoder=embed).predict([SUM]).quality[0], first[0])
    with pytest.raises(TrainingError, match="was fitted with the encoder 'embed'"):
        Predictor.load(tmp_path / "e")
    with pytest.raises(TrainingError, match="finite vectors of one width"):
        fit(rows, encoder=lambda texts: [[float("nan")] for _ in texts])


def test_scores_by_column_are_scores() -> None:
    given = [Score(0.5, 12.0, 0.1), None, Score(output_tokens=3.0), Score(0.2, None, 0.3, True)]
    columns = Scores.of(given)
    assert list(columns) == given
    assert columns[1:3] == given[1:3]
    assert (len(columns), columns[-1]) == (4, given[-1])
    with pytest.raises(IndexError):
        columns[4]


@pytest.mark.parametrize("given", [None, 5, "one text", b"bytes", {"prompt": "x"}])
def test_what_is_no_list_of_prompts_is_refused_by_name(predictor: Predictor, given: Any) -> None:
    with pytest.raises(SpecError, match="prompts: must be a list of prompts"):
        predictor.predict(given)


def test_an_encoder_that_gives_no_numbers_is_named() -> None:
    with pytest.raises(TrainingError, match="gave no array of numbers"):
        fit(judged(30), encoder=lambda texts: [["a", "b"] for _ in texts])
