"""`lin speak`, `lin convert` and `lin voices`: what is written and said, and what is refused in one line."""

import dataclasses
import io
import json
import re
import sys

import numpy as np
import pytest
import soundfile
from helpers import synthesizers, verifiers
from helpers.recordings import BAD, tone

import lin_jax
from lin_jax import bundles, recognisers
from lin_jax.apps import cli, speak
from lin_jax.audio import files


@pytest.fixture
def lin(tmp_path, monkeypatch, capsys, model):
    """Runs a command of `lin` in a folder with recordings of two people."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people/deep").mkdir(parents=True)
    for path, speaker in (("low.wav", 0), ("people/high.wav", 1), ("people/deep/more.flac", 1)):
        files.write(path, verifiers.voice(speaker), synthesizers.RATE)

    def run(command, *arguments):
        code = cli.main([command, "--model", str(model), *arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


def first_symbol(path):
    """The band of the first symbol that is said in a file."""
    samples, _ = files.read(path)
    n = round(synthesizers.SYMBOL_SECONDS * synthesizers.RATE)
    return synthesizers.band(samples[n // 4 : n * 3 // 4])


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_speak(lin):
    code, out, err = lin("speak", "Abba.", "cab.", "--out", "new/a.wav")
    assert (code, err) == (0, [])
    assert re.fullmatch(
        r"new/a\.wav  0:00:01\.3  made by lin_jax with the bundle parrot in the voice Low", out[0]
    )
    assert re.fullmatch(r"0:00:01\.3 of speech, [\d.e+]+ times as fast as it plays", out[1])
    assert first_symbol("new/a.wav") == synthesizers.band_of("a", 0)
    with soundfile.SoundFile("new/a.wav") as file:
        assert (
            file.comment
            == "synthetic speech, made by lin_jax with the bundle parrot in the voice Low"
        )


def test_json(lin):
    code, out, _ = lin("speak", "Abba. cab.", "--voice", "High", "--json", "--out", "a.flac")
    assert code == 0
    (row,) = map(json.loads, out)
    assert list(row) == ["out", "seconds", "provenance", "segments", "real_time_factor"]
    assert [(piece["text"], piece["stopped"]) for piece in row["segments"]] == [
        ("Abba.", True),
        ("cab.", True),
    ]
    assert row["segments"][1]["start"] == pytest.approx(row["segments"][0]["end"] + 0.3, abs=2e-3)
    assert row["seconds"] == pytest.approx(row["segments"][1]["end"])
    assert row["provenance"].endswith("the voice High")
    assert row["real_time_factor"] > 0


@pytest.mark.parametrize(
    ("voice", "speaker"),
    [(["High"], 1), (["low.wav"], 0), (["people"], 1), (["Low", "--voice", "people", "High"], 1)],
)
def test_voice(lin, voice, speaker):
    code, out, err = lin("speak", "abc", "--voice", *voice, "--out", "a.wav")
    assert (code, err) == (0, [])
    assert first_symbol("a.wav") == synthesizers.band_of("a", speaker)
    whose = "the voice High" if voice == ["High"] else "a copied voice"
    assert out[0].endswith(f"in {whose}")


def test_repaired_voice(lin, monkeypatch):
    class Swap:
        def repair(self, samples, rate):
            return verifiers.voice(1)

    monkeypatch.setattr(bundles.Synthesizer, "_repairer", Swap())
    assert lin("speak", "abc", "--voice", "low.wav", "--repair-voice", "--out", "a.wav")[0] == 0
    assert first_symbol("a.wav") == synthesizers.band_of("a", 1)


def test_text_file_and_standard_input(lin, tmp_path, monkeypatch):
    text = "\ufeffAbba.\r\n\r\nCab."
    (tmp_path / "a.txt").write_bytes(text.encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    for source in ("a.txt", "-"):
        code, out, err = lin(
            "speak", "--text-file", source, "--json", "--out", "a.wav", "--speed", "2"
        )
        assert (code, err) == (0, [])
        assert [piece["text"] for piece in json.loads(out[0])["segments"]] == ["Abba.", "Cab."]


def test_what_goes_wrong_within_a_text_is_named_once(lin):
    code, out, err = lin("speak", "Ab😀. cab😀. aq. привет.", "--json", "--out", "a.wav")
    assert code == 1
    assert err == [
        "lin: skipped what this voice cannot read: 😀 (grinning face)",
        "lin: nothing to say: this voice cannot read п (cyrillic small letter pe), р (cyrillic small letter er), "
        "и (cyrillic small letter i), в (cyrillic small letter ve), е (cyrillic small letter ie), "
        "т (cyrillic small letter te)",
        "lin: did not come to an end and was cut: 'aq.'",
    ]
    assert [piece["stopped"] for piece in json.loads(out[0])["segments"]] == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one text"),
        (["abc", "--text-file", "a.txt"], "give one text"),
        ([""], "nothing to say: give a text with words in it"),
        (["\x00 😀"], "nothing to say"),
        (["привет"], "nothing to say: this voice cannot read п"),
        (["--text-file", "nowhere.txt"], "nowhere.txt: cannot be read (No such file or directory)"),
        (["--text-file", "low.wav"], "low.wav: not a text in UTF-8"),
        (["abc", "--speed", "3"], "speed 3: "),
        (
            ["abc", "--voice", "Middle"],
            "Middle: no such file, nor a voice of this bundle (Low, High)",
        ),
        (["abc", "--voice", "low.wav", "silent.wav"], "silent.wav: silent throughout"),
        (["abc", "--voice", "empty"], "empty: no audio files"),
        (["abc", "--out", "people"], "people: a folder; name the file"),
        (["abc", "--out", "low.wav/a.wav"], "low.wav/a.wav: cannot be written"),
        (["abc", "--out", "a.doc"], "a.doc: no audio format is called .doc"),
        (["abc", "--model", "nowhere"], "nowhere: no bundle here"),
        (
            ["abc", "--timestamps", "a.txt"],
            "a.txt: times of words are written as .srt, .vtt, .json",
        ),
        (["abc", "--timestamps", "a.srt"], "this bundle does not tell when it says a word"),
    ],
)
def test_refused_in_one_line_and_nothing_written(lin, tmp_path, arguments, message):
    BAD["all zeros"][0](tmp_path / "silent.wav")
    (tmp_path / "empty").mkdir()
    before = everything(tmp_path)
    code, out, err = lin("speak", "--out", "a.wav", *arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"lin: {message}")
    assert everything(tmp_path) == before


def test_bundle_of_another_kind_is_refused(lin, model):
    code, _, err = lin("speak", "abc", "--out", "a.wav", "--model", str(model.parent / "voices"))
    assert code == 2
    assert "a verification bundle where synthesis is needed; choose another with --model" in err[0]


def test_revoice_file_and_folder(lin, tmp_path):
    code, out, err = lin("convert", "low.wav", "--voice", "people/high.wav", "--out", "b.wav")
    assert (code, err) == (0, [])
    assert (
        out[0]
        == "low.wav → b.wav  0:00:02.0  made by lin_jax with the bundle parrot in a copied voice"
    )
    assert out[1].startswith("0:00:02.0 of speech, ")
    assert first_symbol("b.wav") == 8
    (tmp_path / "people/notes.wav").write_text("not sound at all")
    code, out, err = lin("convert", "people", "--out", "out", "--json")
    assert code == 1
    assert err[0].startswith("lin: people/notes.wav: not readable as audio")
    assert sorted(json.loads(line)["file"] for line in out) == [
        "people/deep/more.flac",
        "people/high.wav",
    ]
    assert everything(tmp_path / "out") == ["deep/more.flac", "high.wav"]
    assert first_symbol("out/high.wav") == 0
    with soundfile.SoundFile("out/deep/more.flac") as file:
        assert file.comment.startswith("synthetic speech, made by lin_jax")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["low.wav", "--out", "low.wav"],
            "low.wav: would be replaced; choose another place for --out",
        ),
        (["silent.wav", "--out", "a.wav"], "silent.wav: silent throughout"),
        (["nowhere.wav", "--out", "a.wav"], "nowhere.wav: no such file"),
        (["low.wav", "--out", "a.doc"], "a.doc: no audio format is called .doc"),
        (["low.wav", "--out", "a.wav", "--voice", "Middle"], "Middle: no such file, nor a voice"),
        (["people", "--out", "b", "--text", "ab"], "text: what one recording says"),
        (["low.wav", "--out", "a.wav", "--text", "ab"], "parrot: converts without a text"),
        (["low.wav", "--out", "a.wav", "--transcribe"], "no recogniser is installed: pip install"),
        (
            ["low.wav", "--out", "a.wav", "--text", "ab", "--transcribe"],
            "text: it is written down by the recogniser; give one of the two",
        ),
    ],
)
def test_revoice_refused_in_one_line(lin, tmp_path, arguments, message, monkeypatch):
    monkeypatch.setattr(recognisers, "installed", list)
    BAD["all zeros"][0](tmp_path / "silent.wav")
    before = everything(tmp_path)
    code, out, err = lin("convert", *arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"lin: {message}")
    assert everything(tmp_path) == before


def test_what_is_transcribed_is_the_text(lin, monkeypatch):
    """Of each recording; one in which nothing is understood is named, and the rest goes on."""
    texts = iter(["", "ab"])
    monkeypatch.setattr(recognisers, "transcribe", lambda samples: next(texts))
    code, _, err = lin("convert", "people", "--out", "out", "--transcribe")
    assert (code, len(err)) == (2, 2)
    assert (
        err[0]
        == "lin: people/deep/more.flac: the recogniser understands no word of it; leave it out"
    )
    assert err[1].startswith("lin: parrot: converts without a text")


def test_revoiced_pauses_stay(lin):
    silence = np.zeros(synthesizers.RATE, np.float32)
    files.write("talk.wav", np.concatenate([tone(), silence, tone(0.5)]), synthesizers.RATE)
    code, out, _ = lin("convert", "talk.wav", "--json", "--out", "b.wav")
    assert code == 0
    first, second = json.loads(out[0])["segments"]
    assert second["start"] - first["end"] == pytest.approx(1.0, abs=0.15)


def test_revoiced_phrase_that_was_cut_is_named(lin, monkeypatch):
    load = lin_jax.load
    monkeypatch.setattr(
        lin_jax, "load", lambda name: dataclasses.replace(load(name), max_seconds=0.5)
    )
    code, out, err = lin("convert", "low.wav", "--out", "b.wav")
    assert (code, len(out)) == (1, 2)
    assert err == ["lin: did not come to an end and was cut: the phrase at 0.0 s"]


def test_warming_up_clones_a_voice():
    hummer = synthesizers.Hummer()
    speak.JOB.warm_up(hummer, 4.0)
    assert hummer.asked[0][0].split() == ["good", "morning"] * 4
    ((path,),) = hummer.cloned
    assert path.endswith("woman.mp3")


def test_fitting_to_a_voice_is_shown_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    speak.clone_voice(synthesizers.Hummer(), ["High", "Low"])
    assert re.search(r"fitting to the voice: .* 0/2 ", capsys.readouterr().err)


def test_voices(lin):
    assert lin("voices") == (0, ["Low   male", "High  female"], [])
    _, out, _ = lin("voices", "--json")
    assert [json.loads(line) for line in out] == [
        {"voice": "Low", "sex": "male"},
        {"voice": "High", "sex": "female"},
    ]
