"""Transcripts: texts that do not fit their recordings are found, whatever the pace of the
speaker.
"""

import numpy as np
import pytest

from data_pipelines import transcripts
from lin_jax.text import END, SymbolTable


def test_texts_that_cannot_be_what_is_said():
    rng = np.random.default_rng(0)
    rows = []
    for speaker, pace in (("slow", 8.0), ("fast", 16.0)):
        for _ in range(20):
            text = "ab " * int(rng.integers(5, 30))
            rows.append(
                {
                    "text": text,
                    "seconds": len(text) / pace * rng.uniform(0.9, 1.1),
                    "speaker": speaker,
                }
            )
    table = SymbolTable.of(row["text"] for row in rows)
    symbols, problems = transcripts.read(rows, table)
    assert problems == {}
    assert all(ids[-1] == END for ids in symbols)
    assert table.decode(symbols[0]) == rows[0]["text"].strip()

    rows[3]["seconds"] *= 2.0
    rows[25] |= {"text": rows[25]["text"] * 3}
    rows[30] |= {"text": " — "}
    rows.append({"text": "ab ab ab ab", "seconds": 1.0, "speaker": "new"})
    rows.append({"text": "ab ab ab ab", "seconds": 20.0, "speaker": "new"})
    rows.append(
        {"text": "", "seconds": 9.0, "speaker": "new"}
    )  # nothing is known of it, so that nothing is wrong
    symbols, problems = transcripts.read(rows, table)
    assert len(symbols[-1]) == 0
    assert list(problems) == [3, 25, 30, 41]
    assert "are usual: check the text" in problems[3]
    assert "nothing to say" in problems[30]
    assert len(transcripts.read(rows[30:31], table)[1]) == 1


def test_a_known_table_learns_another_language_behind_its_symbols():
    pytest.importorskip("espeakng_loader")
    known = transcripts.table_of([{"text": "Hello there."}])
    assert known.languages == ("en-us",)
    rows = [{"text": "Привет."}, {"text": "Hello."}]
    assert transcripts.table_of(rows, (), known) is known
    assert transcripts.table_of(rows, ("en-us",), known) is known
    both = transcripts.table_of(rows, ("ru",), known)
    assert both.languages == ("en-us", "ru")
    assert both.symbols[: len(known.symbols)] == known.symbols
    assert "ʲ" in set(both.symbols) - set(known.symbols)
    assert len(both.decode(both.encode("Привет, hello."))) > 10
