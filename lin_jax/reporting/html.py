"""Self-contained HTML pages, made of plots, players, tables and text.

A page is a list of `Section`s, whose parts are HTML fragments made by `picture`, `player`, `bars`,
`table`, `tiles`, `code` and `cards`.
"""

import base64
import dataclasses
import html
import io
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lin_jax import durable

if TYPE_CHECKING:  # matplotlib comes with lin_jax[train]; pages without plots do without it
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of a page: a heading, a sentence or two, and HTML fragments below them."""

    title: str
    text: str = ""
    parts: Sequence[str] = ()


def picture(figure: "Figure", caption: str = "") -> str:
    """Return a figure as an inline PNG with a caption."""
    png = io.BytesIO()
    figure.savefig(png, dpi=160, format="png", transparent=True)  # for dark pages, too
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    width = round(96 * figure.get_figwidth())
    source = _data("image/png", png.getvalue())
    return (
        f'<figure><img width="{width}" alt="{html.escape(caption)}" src="{source}">{below}</figure>'
    )


def player(samples: np.ndarray, sample_rate: int) -> str:
    """Return a waveform [N] as an inline audio player (16-bit WAV)."""
    import soundfile

    wav = io.BytesIO()
    soundfile.write(wav, np.clip(samples, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
    return f'<audio controls preload="metadata" src="{_data("audio/wav", wav.getvalue())}"></audio>'


def bars(shares: Mapping[str, float], truth: str | None = None) -> str:
    """Return probabilities in [0, 1] as bars, the largest first, with the true name ticked."""
    rows = "".join(
        f'<div class="bar{" truth" if name == truth else ""}"><span>{html.escape(name)}</span>'
        f'<i><b style="width:{100 * share:.1f}%"></b></i><em>{share:.0%}</em></div>'
        for name, share in sorted(shares.items(), key=lambda item: -item[1])
    )
    return f'<div class="bars">{rows}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; a column of numbers is set to the right."""
    rows = [list(row) for row in rows]
    numeric = [
        all(isinstance(row[i], int | float | np.number) for row in rows) for i in range(len(header))
    ]
    head = "".join(_cell(name, right, "th") for name, right in zip(header, numeric, strict=True))
    body = "".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>" for row in rows)
    # Keys can scroll it.
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def tiles(figures: Mapping[str, str]) -> str:
    """Return the few figures that matter as large tiles: what it is -> its value."""
    inner = "".join(
        f'<div class="tile"><strong>{html.escape(value)}</strong><span>{html.escape(name)}</span></div>'
        for name, value in figures.items()
    )
    return f'<div class="tiles">{inner}</div>'


def code(text: str) -> str:
    """Return a command or its output as it would stand in a terminal."""
    return f'<pre tabindex="0">{html.escape(text)}</pre>'  # keys can scroll it


def cards(items: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return several (title, fragments) side by side, as many in a row as fit."""
    inner = "".join(
        f"<article><h3>{html.escape(title)}</h3>{''.join(parts)}</article>"
        for title, parts in items
    )
    return f'<div class="cards">{inner}</div>'


def render(title: str, sections: Sequence[Section], *, lead: str = "") -> str:
    """Return an HTML page that needs nothing beside itself.

    Args:
        title: the page's heading.
        sections: what it shows, in order.
        lead: a sentence or two below the heading.
    """
    links = "".join(
        f'<a href="#s{i}">{html.escape(section.title)}</a>' for i, section in enumerate(sections)
    )
    body = "".join(
        f'<section id="s{i}"><h2>{html.escape(section.title)}</h2>'
        f"{f'<p>{html.escape(section.text)}</p>' if section.text else ''}{''.join(section.parts)}</section>"
        for i, section in enumerate(sections)
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}{_CSS}</style></head><body>'
        f"<header><h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p><nav>{links}</nav></header>"
        f"<main>{body}</main><footer>Made by lin_jax. This page needs no "
        "network.</footer></body></html>"
    )


def write_html(path, title: str, sections: Sequence[Section], *, lead: str = "") -> pathlib.Path:
    """Write one HTML page, as of `render`, and return its path; it is replaced whole or not at all."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable.replacing(path) as part:
        part.write_text(render(title, sections, lead=lead), encoding="utf-8")
    return path


def _cell(value, numeric: bool, tag: str = "td") -> str:
    text = f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
    return f"<{tag}{' class=n' if numeric else ''}>{html.escape(text)}</{tag}>"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


# What the fragments need, on this page and on any other; the rest is this page's own.
STYLE = """
:root{--ink:#1c2333;--muted:#667085;--rule:#e4e7ec;--paper:#fff;--ground:#f5f6fa;--blue:#2f5bea;--green:#12936f}
.bar{display:grid;grid-template-columns:88px 1fr 42px;align-items:center;gap:10px;font-size:14px;line-height:1.7}
.bar i{background:var(--ground);border-radius:6px;height:10px;overflow:hidden}
.bar b{display:block;height:100%;background:#9db4f7;border-radius:6px}
.bar:first-child b{background:var(--blue)}
.bar em{font-style:normal;text-align:right;color:var(--muted);font-variant-numeric:tabular-nums}
.truth span{color:var(--green);font-weight:600}
.truth span::after{content:" ✓"}
figure{margin:16px 0 0}
figure img{max-width:100%;height:auto;display:block;margin:auto}
figcaption{color:var(--muted);font-size:14px;margin-top:6px;text-align:center}
.scroll{overflow-x:auto}
"""


_CSS = """
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0;background:var(--ground);color:var(--ink);
  font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header{background:linear-gradient(120deg,#14246b,#2f5bea 65%,#4f8df5);color:#fff;
  padding:56px max(24px,calc(50vw - 540px)) 28px}
h1{margin:0;font-size:36px;line-height:1.2;letter-spacing:-.02em}
header p{max-width:64ch;margin:10px 0 22px;color:#dde6ff;font-size:18px}
nav{display:flex;flex-wrap:wrap;gap:8px}
nav a{color:#fff;text-decoration:none;font-size:14px;padding:4px 14px;border-radius:99px;background:#ffffff24}
nav a:hover,nav a:focus{background:#ffffff4d}
main{max-width:1128px;margin:0 auto;padding:8px 24px 24px}
section{background:var(--paper);border:1px solid var(--rule);border-radius:14px;padding:24px 28px;margin:24px 0}
h2{margin:0 0 4px;font-size:22px;letter-spacing:-.01em}
h3{margin:0 0 10px;font-size:15px;overflow-wrap:anywhere}
section>p{margin:0 0 16px;color:var(--muted);max-width:76ch}
article figure{margin:0 0 10px}
audio{width:100%;height:36px;margin-bottom:10px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px;margin-top:14px}
.tile{background:var(--ground);border-radius:12px;padding:16px 18px}
.tile strong{display:block;font-size:28px;line-height:1.2;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.tile span{color:var(--muted);font-size:14px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:18px;margin-top:14px}
article{border:1px solid var(--rule);border-radius:12px;padding:16px}
table{border-collapse:collapse;width:100%;font-size:15px;margin-top:8px}
th{text-align:left;color:var(--muted);font-weight:600;font-size:13px}
th,td{padding:8px 14px 8px 0;border-bottom:1px solid var(--rule)}
th.n,td.n{text-align:right;font-variant-numeric:tabular-nums}
pre{background:#131a30;color:#e6ebff;border-radius:10px;padding:16px 18px;overflow-x:auto;
  font:14px/1.55 ui-monospace,Consolas,monospace}
footer{text-align:center;color:var(--muted);font-size:14px;padding:8px 0 40px}
@media print{body{background:#fff}header{color:#000;background:none}header p{color:#444}nav,audio{display:none}}
"""
