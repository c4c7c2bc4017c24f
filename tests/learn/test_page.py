"""The page: fetches nothing, runs no script but its own, and gives its strings to whoever clicks a star."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from headless import LIMIT_S, Page, browser_path

from router_plugin.learn.frontier.curve import Frontier, frontier
from router_plugin.learn.frontier.page import framed, page, save_page

EVIL = "<script>window.ran=1</script>"
QUOTED = "\"><img src=x onerror='window.ran=2'>&amp;"
NAMES = ("tiny", EVIL, QUOTED, "large")
PRICES = dict(zip(NAMES, ((0.1, 0.3), (0.5, 1.5), (1, 4), (3, 15)), strict=True))


@pytest.fixture(scope="module")
def found() -> Frontier:
    rng = np.random.default_rng(5)
    chance = np.clip(rng.random((300, 1)) * 0.7 + np.array([0.0, 0.1, 0.2, 0.3]), 0.02, 0.98)
    chance = np.clip(chance + rng.normal(0, 0.08, chance.shape), 0, 1)
    scores = (rng.random(chance.shape) < chance).astype(float)
    rows = [
        {"prompt": f"question {at}", "scores": dict(zip(NAMES, map(float, one), strict=True))}
        for at, one in enumerate(scores)
    ]
    times = dict.fromkeys(NAMES, 300.0)
    return frontier(rows, chance, models=NAMES, prices=PRICES, ttft_ms=times, points=8)


class Tags(HTMLParser):
    """Names and attributes of every element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_nothing_is_fetched(found: Frontier) -> None:
    text = page(found)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest", text)
    for tag, attributes in Tags(text).seen:
        assert tag not in ("img", "link", "iframe", "object", "embed", "base"), tag
        assert not {"src", "href", "srcset", "action"} & set(attributes), (tag, attributes)
    assert "default-src 'none'" in text


def test_names_are_escaped_wherever_they_stand(found: Frontier) -> None:
    text = page(found, title=EVIL)
    assert [tag for tag, _ in Tags(text).seen].count("script") == 1
    assert EVIL not in text
    assert "<img" not in text
    assert html.escape(EVIL) in text
    assert not any(key.startswith("on") for _, attributes in Tags(text).seen for key in attributes)


def test_every_setting_has_a_star_a_card_and_a_row_with_its_string(found: Frontier) -> None:
    seen = Tags(page(found)).seen
    stars = [a for tag, a in seen if tag == "g" and (a.get("class") or "").startswith("star") and "data-card" in a]
    assert {a["data-copy"] for a in stars} == {one.string for one in found.settings}
    assert all(a["tabindex"] == "0" and a["role"] == "button" and a["aria-label"] for a in stars)
    assert {f"card-{at}" for at in range(len(found.settings))} <= {a.get("id") for _, a in seen}
    buttons = [a["data-copy"] for tag, a in seen if tag == "button"]
    assert buttons == [one.string for one in (*found.settings, *found.pay)]


def test_it_is_the_same_every_time_and_small(found: Frontier, tmp_path: Path) -> None:
    save_page(found, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page(found)
    assert len(page(found)) < 150_000


def test_a_notebook_gets_the_page_in_a_frame_of_its_own(found: Frontier) -> None:
    ((tag, attributes),) = Tags(found._repr_html_()).seen
    assert tag == "iframe"
    assert attributes["srcdoc"] == page(found)
    assert attributes["sandbox"] == "allow-scripts"


def test_one_free_model_has_a_page_too() -> None:
    text = page(frontier([{"prompt": "a", "scores": {"only": 1.0}}], prices={"only": (0, 0)}))
    assert "router@q:1" in text
    assert "nan" not in text


@pytest.fixture(scope="module")
def tab(found: Frontier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    browser = browser_path()
    if browser is None:
        pytest.skip("no Chromium or Chrome on this machine (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("page")
    save_page(found, folder / "page.html")
    (folder / "frame.html").write_text(f"<!doctype html><body>{framed(found)}", encoding="utf-8")
    with Page(browser, folder / "profile") as opened:
        opened.ask("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        opened.folder = folder
        yield opened


def start(tab: Page, name: str = "page.html") -> None:
    tab.requests.clear()
    tab.open((tab.folder / name).as_uri())


def star(at: int) -> str:
    return f"[data-view=all] .star[data-card='{at}'] .touch"


def clipboard(tab: Page) -> str:
    return str(tab.js("navigator.clipboard.readText()"))


def test_hovering_a_star_shows_its_mix_and_leaving_hides_it(tab: Page, found: Frontier) -> None:
    start(tab)
    assert tab.js("document.querySelectorAll('.card:not([hidden])').length") == 0
    at = max(range(len(found.settings)), key=lambda one: len(found.settings[one].mix))
    tab.hover(star(at))
    text = tab.js("document.querySelector('.card:not([hidden])').innerText")
    one = found.settings[at]
    assert one.string in text
    assert f"{one.quality:.3f} ({one.low:.3f}–{one.high:.3f})" in text
    for model, share in one.mix.items():
        assert model in text
        assert (f"{share * 100:.0f}\u00a0%" if share >= 0.01 else "<1\u00a0%") in text
    tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert tab.js("document.querySelectorAll('.card:not([hidden])').length") == 0


def test_clicking_a_star_copies_its_router_string_and_says_so(tab: Page, found: Frontier) -> None:
    start(tab)
    for at in (0, len(found.settings) - 1):
        tab.click(star(at))
        tab.wait(f"document.getElementById('note').textContent === 'copied {found.settings[at].string}'")
        assert tab.js("getComputedStyle(document.getElementById('note')).pointerEvents") == "auto"
        assert clipboard(tab) == found.settings[at].string


def test_the_keyboard_reaches_a_star_and_copies(tab: Page, found: Frontier) -> None:
    start(tab)
    tab.key("Tab")
    assert tab.js("document.activeElement.dataset.card") == "0"
    assert found.settings[0].string in tab.js("document.querySelector('.card:not([hidden])').innerText")
    tab.key("Tab")
    tab.key("Enter", "\r")
    tab.wait(f"document.getElementById('note').textContent === 'copied {found.settings[1].string}'")
    assert clipboard(tab) == found.settings[1].string
    tab.key("Escape")
    assert tab.js("document.querySelectorAll('.card:not([hidden])').length") == 0


def test_without_a_clipboard_to_write_to_it_still_copies(tab: Page, found: Frontier) -> None:
    start(tab)
    tab.js("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true}), 1")
    tab.click(star(2))
    tab.wait(f"document.getElementById('note').textContent === 'copied {found.settings[2].string}'")
    tab.js("delete navigator.clipboard")
    assert clipboard(tab) == found.settings[2].string


def test_a_button_of_the_table_copies_too(tab: Page, found: Frontier) -> None:
    start(tab)
    tab.js("document.querySelector('tr[data-card=\"1\"] button').scrollIntoView()")
    tab.click("tr[data-card='1'] button")
    tab.wait(f"document.getElementById('note').textContent === 'copied {found.settings[1].string}'")
    assert clipboard(tab) == found.settings[1].string


def test_no_name_has_run_and_nothing_was_fetched(tab: Page) -> None:
    start(tab)
    assert tab.js("window.ran") is None
    assert tab.js("document.images.length") == 0
    assert tab.requests == [(tab.folder / "page.html").as_uri()]


def test_a_script_that_is_not_the_pages_own_does_not_run(tab: Page) -> None:
    start(tab)
    added = "const s = document.createElement('script'); s.textContent = 'window.ran=3'; document.body.append(s)"
    tab.js(f"(() => {{ {added} }})()")
    assert tab.js("window.ran") is None


def test_in_a_notebooks_frame_a_click_copies(tab: Page, found: Frontier) -> None:
    start(tab, "frame.html")
    assert tab.js("document.querySelector('iframe').contentDocument") is None, "the frame is a world of its own"
    left, top = tab.js("(b => [b.x, b.y])(document.querySelector('iframe').getBoundingClientRect())")
    said, until = "", time.monotonic() + LIMIT_S
    while not said and time.monotonic() < until:  # a click before the frame is painted goes to the page behind it
        with tab.inside_frame():
            tab.wait("document.readyState === 'complete'")
            x, y = tab.middle(star(1))
        tab.click_at(left + x, top + y)
        with tab.inside_frame():
            said = tab.js("new Promise(go => setTimeout(() => go(document.getElementById('note').textContent), 100))")
    assert said == f"copied {found.settings[1].string}"
    assert clipboard(tab) == found.settings[1].string
