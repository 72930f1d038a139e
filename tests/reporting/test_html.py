"""The page: it needs nothing beside itself, and escapes what it shows."""

import re
from html.parser import HTMLParser

import numpy as np

from lin_jax.reporting import html, plots

HISTORY = [
    {"step": 1, "train/loss": 2.0, "learning_rate": 1e-3, "note": "text is no curve"},
    {"step": 2, "train/loss": 1.5, "learning_rate": 1e-3, "eval/loss": 1.8, "eval/uar": 0.4},
    {"step": 3, "train/loss": 1.2, "eval/uar": 0.6},
]


class Checker(HTMLParser):
    """Counts what opens against what closes and collects every address."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_page_stands_alone_and_escapes_what_it_shows(tmp_path):
    nasty = '<script>alert("x")</script> & co'
    sections = [
        html.Section(
            "Training",
            nasty,
            [html.picture(plots.plot_curves(HISTORY), nasty), html.tiles({nasty: nasty})],
        ),
        html.Section(
            "Clips",
            parts=[html.cards([(nasty, [html.player(np.zeros(800), 8000), html.code(nasty)])])],
        ),
        html.Section(
            "Table",
            parts=[
                html.table([nasty], [[nasty], [0.12345]]),
                html.bars({nasty: 0.2, "b": 0.8}, "b"),
            ],
        ),
    ]
    path = html.write_html(tmp_path / "deep/page.html", nasty, sections, lead=nasty)
    text = path.read_text(encoding="utf-8")
    page = Checker()
    page.feed(text)
    assert page.open == []
    assert "<script" not in text
    assert "".join(page.words).count(nasty) == 12
    assert "0.1235" in text
    assert '<div class="scroll" tabindex="0"><table>' in text, "keys can scroll it"
    assert all(
        re.match(r"#s\d$|data:(image/png|audio/wav);base64,", address) for address in page.addresses
    )
    assert not re.search(r"https?://|url\(|@import", text)
    assert [path.name for path in path.parent.iterdir()] == ["page.html"]
    assert text.index(">b</span>") < text.index(
        "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; co</span><i>"
    )
