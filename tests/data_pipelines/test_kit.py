"""The data kit on recordings that the test makes: each command writes a corpus, or a page, again."""

import json

import numpy as np
import pytest
from helpers import verifiers

from data_pipelines import __main__, corpora, kit
from data_pipelines.kit import augment, clean, inspect, segment
from lin_jax import bundles
from lin_jax.audio import files
from lin_jax.errors import CorpusError
from lin_jax.metrics import transcription

RATE = verifiers.RATE


@pytest.fixture
def folder(tmp_path):
    """Two speakers of three clips, one clip of the first listed under the second, a copy, and no audio."""
    audio = tmp_path / "audio"
    audio.mkdir()
    rows = ["path,speaker,text,mood"]
    for speaker in (0, 1):
        for clip in range(3):
            name = f"s{speaker}-{clip}.wav"
            samples = verifiers.voice(
                0 if name == "s1-2.wav" else speaker, 2.0, seed=10 * speaker + clip
            )
            files.write(audio / name, 0.2 * np.pad(samples, 4000), RATE)
            rows.append(
                f"{name},s{speaker},{'Yes.' if clip == 0 else ''},{('good', 'bad')[clip > 0]}"
            )
    files.write(audio / "copy.wav", files.read(audio / "s0-1.wav")[0], RATE)
    (audio / "broken.wav").write_bytes(b"RIFF")
    rows += ["copy.wav,s0,,good", "broken.wav,s0,,good"]
    (audio / "table.csv").write_text("\n".join(rows) + "\n")
    return audio


def run(command, folder, out, *more):
    return __main__.main([command, "table", "--audio-dir", str(folder), "--out", str(out), *more])


def test_inspect(folder, tmp_path, monkeypatch, capsys):
    verifiers.register(monkeypatch)
    load = {"speaker": verifiers.verifier()}
    monkeypatch.setattr(bundles, "load", load.__getitem__)
    assert run("inspect", folder, tmp_path / "out") == 1
    out, err = capsys.readouterr()
    assert "7 clips, 0.00 h, 2 speakers" in out
    assert "broken.wav" in err
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["clips_by_speaker"] == {"s0": 4, "s1": 3}
    assert report["labels"] == {"mood": {"good": 3, "bad": 4}}
    assert [path.rsplit("/")[-1] for path in report["faults"]["copies"]] == ["copy.wav", "s0-1.wav"]
    (stranger,) = report["other_speakers"]
    assert stranger["path"].endswith("s1-2.wav")
    assert (stranger["speaker"], stranger["sounds_like"]) == ("s1", "s0")
    page = (tmp_path / "out/report.html").read_text()
    assert "Like another speaker" in page
    assert "<img" in page


def test_what_is_measured(tmp_path):
    rng = np.random.default_rng(0)
    samples = np.concatenate([1e-3 * rng.standard_normal(RATE), 0.1 * rng.standard_normal(RATE)])
    files.write(tmp_path / "a.wav", samples, RATE)
    clip = inspect.measure(tmp_path / "a.wav")
    assert (clip.seconds, clip.sample_rate, clip.clipped) == (2.0, RATE, 0.0)
    assert clip.level_db == pytest.approx(-23, abs=0.3), "half of it at -20 dB"
    assert clip.snr_db == pytest.approx(60 - 23, abs=1.5)


def test_clean_is_a_corpus_again(folder, tmp_path, capsys):
    out = tmp_path / "clean"
    assert run("clean", folder, out, "--strength", "0") == 1
    assert "broken.wav" in capsys.readouterr().err
    listed = corpora.load("table", out)
    assert [utterance.id for utterance in listed] == sorted(
        ["copy", *(f"s{speaker}-{clip}" for speaker in (0, 1) for clip in range(3))]
    )
    assert {utterance.text for utterance in listed} == {"Yes.", ""}
    samples, _ = files.read(listed[0].path)
    assert len(samples) < 2.2 * RATE, "the pauses are gone"
    assert 20 * np.log10(np.sqrt(np.mean(samples**2))) == pytest.approx(clean.LEVEL_DB, abs=0.1)
    before = listed[0].path.stat().st_mtime_ns
    run("clean", folder, out, "--strength", "0")
    assert listed[0].path.stat().st_mtime_ns == before, "made once"


def test_augment_balances_classes(folder, tmp_path):
    assert run("augment", folder, tmp_path / "more", "--copies", "1", "--balance", "mood") == 1
    listed = corpora.load("table", tmp_path / "more")
    moods = [utterance.labels["mood"] for utterance in listed if "broken" not in utterance.id]
    assert moods.count("bad") == 8
    assert moods.count("good") >= 6, "8 with those that could not be read"
    plain, varied = (files.read(tmp_path / f"more/s0-0{end}.flac")[0] for end in ("", "-1"))
    np.testing.assert_allclose(plain, files.read(folder / "s0-0.wav")[0], atol=1e-4)
    assert len(varied) == len(plain)
    assert np.abs(varied - plain).max() > 0.01
    again = augment.vary(plain, RATE, "s0-0", 1)
    np.testing.assert_allclose(varied, again, atol=1e-3)


@pytest.mark.parametrize(
    ("copies", "label", "message"),
    [(-1, None, "choose 0 or more"), (1, "colour", "no recording has a label 'colour'")],
)
def test_what_cannot_be_augmented(folder, copies, label, message):
    with pytest.raises(CorpusError, match=message):
        augment.plan(corpora.load("table", folder), copies, label)


def test_transcribe(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(transcription, "recognise", lambda clips, rate: ['a "word"'] * len(clips))
    out = tmp_path / "texts"
    assert run("transcribe", folder, out, "--recogniser", "pocketsphinx") == 1
    texts = {utterance.id: utterance.text for utterance in corpora.load("table", out)}
    assert texts == {path: "Yes." if path.endswith("-0") else 'a "word"' for path in texts}
    assert len(texts) == 7
    page = (out / "transcripts.html").read_text()
    assert '"text": "a \\"word\\""' in page
    assert page.count("s0-1.wav") == 1


def test_export(folder, tmp_path):
    assert run("export", folder, tmp_path / "arrays") == 1
    listed = corpora.load("table", tmp_path / "arrays")
    frames = np.load(listed[0].path)
    assert frames.dtype == np.float32
    assert frames.shape[1] == 64
    assert {utterance.labels["mood"] for utterance in listed} == {"good", "bad"}


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="choose another --out"):
        kit.make_folder(tmp_path / "file")


def test_segment(folder, tmp_path):
    """A recording of several phrases is cut in its pauses; a short one stays whole, with its text."""
    phrase = np.pad(files.read(folder / "s0-1.wav")[0], RATE // 2)
    files.write(folder / "s0-0.wav", np.tile(phrase, 4), RATE)
    assert run("segment", folder, tmp_path / "cut", "--max-seconds", "4") == 1
    listed = corpora.load("table", tmp_path / "cut")
    of_long = [utterance for utterance in listed if utterance.id.startswith("s0-0-")]
    seconds = [files.duration(utterance.path) for utterance in of_long]
    assert len(of_long) >= 4
    assert max(seconds) <= 4
    assert sum(seconds) >= 4 * 2.0, "no speech is lost"
    texts = {utterance.id: utterance.text for utterance in listed}
    assert texts["s1-0"] == "Yes."
    assert {utterance.text for utterance in of_long} == {""}
    with pytest.raises(SystemExit):
        run("segment", folder, tmp_path / "cut", "--max-seconds", "soon")
    assert run("segment", folder, tmp_path / "cut", "--max-seconds", "0.5") == 2


def test_short_phrases_stay_together():
    assert segment.joined([(0, 2), (3, 5), (6, 9), (9, 14)], 6) == [(0, 5), (6, 9), (9, 14)]
