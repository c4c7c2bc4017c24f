"""The picture: written in both formats, labelled with the strings, the same bytes every time, no labels in a heap."""

from __future__ import annotations

import builtins
import itertools
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router_plugin.errors import SpecError
from router_plugin.learn.frontier import canvas
from router_plugin.learn.frontier.curve import Frontier, frontier
from router_plugin.learn.frontier.plot import plot

NAMES = ("tiny", "lab/middle-7b", "lab/large-70b", "$weird$_name^2", "large-70b-copy")
PRICES = dict(zip(NAMES, ((0.1, 0.3), (0.5, 1.5), (3, 15), (1, 4), (3, 15)), strict=True))


def made(timed: bool = False) -> Frontier:
    rng = np.random.default_rng(5)
    chance = np.clip(rng.random((200, 1)) + np.array([0.0, 0.15, 0.4, 0.05, 0.4]), 0.05, 0.95)
    scores = (rng.random(chance.shape) < chance).astype(float)
    rows = [
        {"prompt": f"question {at}", "scores": dict(zip(NAMES, map(float, one), strict=True))}
        for at, one in enumerate(scores)
    ]
    times = {name: 100.0 + 150 * at for at, name in enumerate(NAMES)}
    slow = {name: 30.0 - 5 * at for at, name in enumerate(NAMES)}
    known: dict[str, Any] = {"ttft_ms": times, "itl_ms": slow} if timed else {}
    return frontier(rows, chance, models=NAMES, prices=PRICES, points=8, **known)


@pytest.fixture(scope="module")
def found() -> Frontier:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    return made()


def test_a_png_has_the_size_that_was_asked_for(found: Frontier, tmp_path: Path) -> None:
    path = tmp_path / "frontier.png"
    found.plot(path, width=1000, height=700)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1000, 700)
    assert len(data) > 20_000


def test_an_svg_names_every_model_and_setting_and_is_the_same_every_time(found: Frontier, tmp_path: Path) -> None:
    texts = []
    for name in ("a.svg", "b.svg"):
        found.plot(tmp_path / name, title="My <router>")
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    for label in (*(one.model for one in found.singles), *(canvas.short(one.string) for one in found.settings)):
        assert f">{label}</text>" in texts[0], label
    assert "My &lt;router&gt;" in texts[0]


@pytest.mark.parametrize("near", [False, True])
def test_no_label_lies_on_another_or_outside(near: bool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    figure = plot(made(timed=True), tmp_path / "f.png", near=near)
    (plane,) = figure.axes
    boxes = [text.get_window_extent() for text in plane.texts]
    assert len(boxes) >= 8
    for a, b in itertools.combinations(boxes, 2):
        assert a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
    frame = plane.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


@pytest.mark.parametrize("prices", [(1, 2), (0, 0)])
def test_one_model_can_be_drawn(prices: tuple[float, float], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    one = frontier([{"prompt": "a", "scores": {"only": 1.0}}], prices={"only": prices})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.plot(tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 5_000


def test_free_models_stand_at_a_tick_that_says_so(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "scores": {"free": 0.2, "paid": 0.9}}]
    axes = canvas.axes_of(frontier(rows, prices={"free": (0, 0), "paid": (1, 2)}))
    assert (axes.floor, "$0") in canvas.cost_ticks(axes)
    assert axes.holds(0.0, 0.2)


def test_another_ending_is_refused_before_anything_is_drawn(found: Frontier) -> None:
    with pytest.raises(SpecError, match=r"\.png, \.svg, \.pdf, got 'frontier.gif'"):
        found.plot("frontier.gif")


def test_without_matplotlib_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **more)

    one = frontier([{"prompt": "a", "scores": {"only": 1.0}}], prices={"only": (1, 2)})
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SpecError, match=r"pip install 'router-plugin\[plot\]'"):
        one.plot()
