"""Generated speech is marked: there is one way out of the synthesizers, and nothing goes past it."""

import ast
import functools

import numpy as np
import pytest
from test_imports import MODULES

from lin_jax.audio import files, watermark
from lin_jax.bundles import Speech

# Functions that write or play samples which no synthesizer made, or only those of a `Speech`. Whoever
# adds a line says that generated speech does not pass it unmarked. Reports of evaluations and
# experiments play originals beside.
WRITERS = {
    "lin_jax.audio.files.write",
    "lin_jax.bundles.repairer._FileJob.open",
    "lin_jax.bundles.synthesizer.Speech.write",
    "lin_jax.metrics.audio.mel_cepstral_distance",  # files that the metric reads
    "lin_jax.reporting.html.player",
}
WRITING = {"files.write", "files.writing", "soundfile.write", "html.player"}


@functools.cache
def calls(name: str) -> tuple[tuple[str, str], ...]:
    """Functions of a module, dotted within their classes, and the calls in each of them."""

    def walk(node, within):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield from walk(child, f"{within}.{child.name}".lstrip("."))
            else:
                if isinstance(child, ast.Call):
                    yield within, ast.unparse(child.func)
                yield from walk(child, within)

    return tuple(walk(ast.parse(MODULES[name].read_text()), ""))


def test_speech_is_made_by_nothing_but_the_function_that_marks_it():
    makers = {
        (name, function)
        for name in MODULES
        for function, called in calls(name)
        if called.split(".")[-1] == "Speech"
    }
    assert not makers
    within = {
        function for function, called in calls("lin_jax.bundles.synthesizer") if called == "cls"
    }
    assert {function for function in within if function.startswith("Speech.")} == {"Speech.marked"}


def test_the_law_sees_an_unmarked_one(monkeypatch, tmp_path):
    (tmp_path / "new.py").write_text("def stream():\n    return bundles.Speech(samples, rate)\n")
    monkeypatch.setitem(MODULES, "lin_jax.apps.new", tmp_path / "new.py")
    with pytest.raises(AssertionError, match="stream"):
        test_speech_is_made_by_nothing_but_the_function_that_marks_it()


def test_whatever_writes_audio_is_known():
    writers = {
        f"{name}.{function}"
        for name in MODULES
        for function, called in calls(name)
        if called in WRITING and name.startswith("lin_jax.") and "evaluation" not in name
    }
    assert writers == WRITERS


def test_what_is_written_carries_both_marks(tmp_path):
    rng = np.random.default_rng(0)
    speech = Speech.marked(rng.normal(0, 0.5, 4 * 16000), 16000, (), "made by a test")
    assert np.abs(speech.samples).max() <= 0.991
    speech.write(tmp_path / "said.flac")
    assert watermark.detect(speech.samples, 16000).marked
    assert watermark.detect(tmp_path / "said.flac").marked
    assert (
        "synthetic speech, made by a test"
        in dict(files.describe(tmp_path / "said.flac").tags).values()
    )
