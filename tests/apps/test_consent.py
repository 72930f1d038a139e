"""Consent by proof: which sentence, read by whom, is accepted."""

import json
import time

import numpy as np
import pytest
from helpers import synthesizers, verifiers

import lin_jax
from lin_jax.apps import cli, consent
from lin_jax.audio import files, watermark
from lin_jax.bundles import saved_voices
from lin_jax.errors import ConsentError
from lin_jax.metrics import transcription

RATE = verifiers.RATE


@pytest.fixture(autouse=True)
def understood(tmp_path, monkeypatch):
    """What the recogniser understands, in place of what is said."""
    words = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(saved_voices, "FOLDER", tmp_path / "kept")
    monkeypatch.setattr(transcription, "recognise", lambda clips, rate, texts: [words[-1]])
    files.write("clip.wav", verifiers.voice(0, 3.0), RATE)
    files.write("read.wav", verifiers.voice(0, 4.0, seed=3), RATE)
    return words


def prove(recording="read.wav"):
    return consent.prove("anna", ["clip.wav"], recording, verifiers.verifier())


def test_who_reads_it_consents_once(understood):
    sentence = consent.ask("anna")
    understood.append(sentence)
    given = prove()
    assert given.startswith("proved on 20")
    assert f"{sentence!r} was read aloud" in given
    with pytest.raises(ConsentError, match="no sentence was drawn"):
        prove()


def test_sentences_are_drawn_anew():
    sentences = {consent.ask("anna") for _ in range(5)}
    assert len(sentences) == 5
    assert all(len(sentence.split()) == len(consent.WORDS) for sentence in sentences)


def test_a_few_words_may_be_misunderstood(understood):
    words = consent.ask("anna").split()
    understood.append(" ".join(words[3:]))
    assert prove().startswith("proved")
    consent.ask("anna")
    understood.append("something else altogether")
    with pytest.raises(ConsentError, match="'something else altogether' was understood"):
        prove()


def test_others_cannot_consent(understood):
    understood.append(consent.ask("anna"))
    files.write("other.wav", verifiers.voice(1, 4.0), RATE)
    with pytest.raises(ConsentError, match=r"not surely the voice of the recordings \(0% same"):
        prove("other.wav")


def test_a_synthesizer_cannot_consent(understood, monkeypatch):
    understood.append(consent.ask("anna"))
    noise = np.random.default_rng(0).normal(0, 0.1, 8 * RATE).astype(np.float32)
    files.write("made.wav", watermark.mark(noise, RATE), RATE)
    with pytest.raises(ConsentError, match="carries the mark of generated speech"):
        prove("made.wav")


def test_an_old_sentence(understood, monkeypatch):
    understood.append(consent.ask("anna"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + consent.VALID_SECONDS + 1)
    with pytest.raises(ConsentError, match="too old; draw one with lin voice sentence anna"):
        prove()


def test_command(understood, monkeypatch, capsys, tmp_path):
    verifiers.register(monkeypatch)
    synthesizers.register(monkeypatch)
    speaker = lin_jax.bundles.save(tmp_path / "voices", verifiers.verifier())
    model = lin_jax.bundles.save(tmp_path / "parrot", synthesizers.synthesizer(encoder=speaker))
    load = lin_jax.load
    monkeypatch.setattr(lin_jax, "load", lambda name: load(speaker if name == "speaker" else name))
    assert cli.main(["voice", "sentence", "anna"]) == 0
    output = capsys.readouterr()
    assert "within 10 minutes" in output.err
    understood.append(output.out.strip())
    save = ["voice", "save", "anna", "clip.wav", "--model", str(model), "--read-aloud"]
    assert cli.main([*save, "no.wav"]) == 2
    assert "no.wav: no such file" in capsys.readouterr().err
    assert cli.main([*save, "read.wav"]) == 0
    capsys.readouterr()
    assert cli.main(["voice", "list", "--json"]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row["voice"] == "anna"
    assert row["consent"].startswith("proved on 20")
