"""The frontier as one self-contained HTML page: hover a star to see what it is made of, click it to copy its string.

Nothing is fetched (the page's own Content-Security-Policy forbids it), and no script runs but the page's own, which
the policy names by its hash: a model may be called whatever it likes.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

from . import canvas
from .curve import Frontier
from .page_graph import STAR, graph
from .points import Setting, Single

COLORS = 8  # of models in a mix: the seven that get most prompts, and one for all others
_STARS = (("star", "setting"), ("star timed", "setting that is fast for its price"))
_KEY = (
    ('<circle cx="13" cy="7" r="4.5" fill="var(--dot)"/>', "one model for all"),
    ('<path class="hull" d="M0 7H26"/>', "hull of the settings"),
    ('<path class="mix" d="M0 7H26"/>', "random mix of models"),
    ('<path class="pay" d="M0 7H26"/>', "willingness to pay"),
    ('<path fill="var(--oracle)" d="M13 0l7 7-7 7-7-7Z"/>', "oracle: the best model for every prompt"),
)


def page(frontier: Frontier, *, title: str = "Quality against cost") -> str:
    """The whole page."""
    style, script, colors = _asset("page.css"), _asset("page.js"), _colors(frontier)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>",
            f"<h1>{escape(title)}</h1>\n<p>{_about(frontier)}</p>",
            f'<div class="stage">{_views(frontier)}{"".join(_cards(frontier, colors))}</div>',
            _key(frontier),
            f'<div class="wide">{_table(frontier.settings, colors, "router string")}</div>',
            _along(
                "Along the willingness to pay (a keyword of the call, not part of a router string)", frontier, colors
            ),
            _models(frontier.singles),
            '</main>\n<div id="note" role="status" aria-live="polite"></div>',
            f"<script>{script}</script>\n</body>\n</html>\n",
        )
    )


def save_page(frontier: Frontier, path: str | os.PathLike[str], *, title: str = "Quality against cost") -> None:
    """Write the page to a file."""
    Path(path).write_text(page(frontier, title=title), encoding="utf-8")


def framed(frontier: Frontier) -> str:
    """The page in a frame of its own, for notebooks: its style and script touch nothing else there."""
    return (
        f'<iframe srcdoc="{escape(page(frontier))}" sandbox="allow-scripts" allow="clipboard-write" '
        'title="quality against cost" style="width:100%;height:860px;border:0"></iframe>'
    )


@lru_cache(maxsize=4)
def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8").strip()


def _about(frontier: Frontier) -> str:
    text = f"Measured on {frontier.prompts:,} prompt{'s' if frontier.prompts != 1 else ''}"
    if frontier.left_out:
        text += f" ({frontier.left_out:,} without a score of every model were left out)"
    text += (
        "; intervals hold 95 % (bootstrap over prompts). Hover a star, or reach it with the Tab key, to see its mix "
    )
    return text + "of models; click it, or press Enter, to copy its router string."


def _views(frontier: Frontier) -> str:
    if not canvas.crowded(frontier):
        return f'<div data-view="all">{graph(frontier)}</div>'
    near = graph(frontier, near=True)
    return f'<div data-view="all">{graph(frontier)}</div><div data-view="near" hidden>{near}</div>'


def _key(frontier: Frontier) -> str:
    stars = _STARS if not all(canvas.on_front(frontier.settings)) else _STARS[:1]
    marks = [(f'<g class="{k}" transform="translate(13 7)"><path class="mark" d="{STAR}"/></g>', t) for k, t in stars]
    entries = "".join(
        f'<span><svg aria-hidden="true">{mark}</svg>{escape(text)}</span>' for mark, text in (*marks, *_KEY)
    )
    views = ""
    if canvas.crowded(frontier):
        views = (
            '<span class="views"><label><input type="radio" name="view" value="all" checked> everything</label>'
            '<label><input type="radio" name="view" value="near"> the settings</label></span>'
        )
    return f'<div class="key">{entries}{views}</div>'


def _colors(frontier: Frontier) -> dict[str, int]:
    """The colour of each model: one of its own for those that get most prompts over all settings."""
    shares = {
        one.model: sum(setting.mix.get(one.model, 0.0) for setting in frontier.settings) for one in frontier.singles
    }
    order = sorted(shares, key=lambda model: -shares[model])
    return {model: min(at, COLORS - 1) for at, model in enumerate(order)}


def _cards(frontier: Frontier, colors: dict[str, int]) -> Iterator[str]:
    """What is shown beside a star."""
    for at, one in enumerate(frontier.settings):
        facts = [("quality", _quality(one)), ("cost", f"{canvas.dollars(one.cost_usd)} per 1,000 requests")]
        facts += [("first token", f"{one.ttft_ms:,.0f} ms")] if one.ttft_ms is not None else []
        facts += [("between tokens", f"{one.itl_ms:,.1f} ms")] if one.itl_ms is not None else []
        listed = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts)
        mix = "".join(
            f'<li><svg class="swatch" viewBox="0 0 9 9"><rect class="m{colors[model]}" width="9" '
            f'height="9"/></svg><span>{escape(model)}</span><b>{escape(_percent(share))}</b></li>'
            for model, share in list(one.mix.items())[:8]
        )
        more = f"<small>and {len(one.mix) - 8} more</small>" if len(one.mix) > 8 else ""
        yield (
            f'<div class="card" id="card-{at}" role="tooltip" hidden><code>{escape(one.string)}</code>'
            f"<dl>{listed}</dl>{_bar(one.mix, colors)}<ul>{mix}</ul>{more}</div>"
        )


def _along(title: str, frontier: Frontier, colors: dict[str, int]) -> str:
    table = _table(frontier.pay, colors, "keyword")
    return f'<details><summary>{escape(title)}</summary><div class="wide">{table}</div></details>'


def _table(settings: Sequence[Setting], colors: dict[str, int], kind: str) -> str:
    timed = [
        name for name, known in (("TTFT", "ttft_ms"), ("ITL", "itl_ms")) if getattr(settings[0], known) is not None
    ]
    heads = "".join(f"<th>{name}</th>" for name in (kind, "", "quality", "cost / 1,000", *timed, "mix of models"))
    rows = []
    for at, one in enumerate(settings):
        cells = [_quality(one), canvas.dollars(one.cost_usd)]
        cells += [f"{value:,.0f} ms" for value in (one.ttft_ms,) if value is not None]
        cells += [f"{value:,.1f} ms" for value in (one.itl_ms,) if value is not None]
        numbers = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
        most = ", ".join(f"{escape(model)} {escape(_percent(share))}" for model, share in list(one.mix.items())[:2])
        button = f'<button type="button" data-copy="{escape(one.string)}">copy</button>'
        link = f' data-card="{at}"' if kind == "router string" else ""
        rows.append(
            f"<tr{link}><td><code>{escape(one.string)}</code></td><td>{button}</td>{numbers}"
            f'<td class="mixed">{_bar(one.mix, colors)}<small>{most}</small></td></tr>'
        )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _models(singles: Sequence[Single]) -> str:
    rows = "".join(
        f'<tr><td>{escape(one.model)}</td><td class="number">{_quality(one)}</td>'
        f'<td class="number">{canvas.dollars(one.cost_usd)}</td></tr>'
        for one in sorted(singles, key=lambda one: -one.quality)
    )
    heads = "<tr><th>model</th><th>quality</th><th>cost / 1,000</th></tr>"
    table = f'<div class="wide"><table><thead>{heads}</thead><tbody>{rows}</tbody></table></div>'
    return f"<details><summary>Each model alone</summary>{table}</details>"


def _bar(mix: dict[str, float], colors: dict[str, int]) -> str:
    parts, at = [], 0.0
    for model, share in mix.items():
        parts.append(f'<rect class="m{colors[model]}" x="{at * 100:.2f}" width="{share * 100:.2f}" height="9"/>')
        at += share
    return f'<svg class="bar" viewBox="0 0 100 9" preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'


def _quality(one: Setting | Single) -> str:
    return f"{one.quality:.3f} ({one.low:.3f}–{one.high:.3f})"


def _percent(share: float) -> str:
    return "<1\u00a0%" if share < 0.01 else f"{share * 100:.0f}\u00a0%"
