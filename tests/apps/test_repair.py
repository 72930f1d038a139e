"""`lin repair`: what is written where, what is said of it, and what is refused before anything is touched."""

import json
import pathlib
import re
import types

import numpy as np
import pytest
import soundfile
from helpers import repairers
from helpers.recordings import BAD, UNUSUAL, encode, holds, spoilt, tone

from lin_jax import bundles
from lin_jax.apps import cli, repair
from lin_jax.audio import files

RATE = 16000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A bundle that makes everything half as loud."""
    with pytest.MonkeyPatch.context() as patch:
        repairers.register(patch)
        made = repairers.repairer(repairers.Gain(0.5))
        yield str(bundles.save(tmp_path_factory.mktemp("bundle") / "half", made, ""))


@pytest.fixture
def lin(tmp_path, monkeypatch, capsys, model):
    """Runs `lin repair` in a folder with a recording and a folder of some more."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/deep").mkdir(parents=True)
    soundfile.write("a.wav", np.stack([tone(1.0, 44100), tone(1.0, 44100, 900)], axis=1), 44100)
    soundfile.write("in/b.flac", tone(0.5, 8000), 8000)
    soundfile.write("in/deep/c.mp3", tone(0.7), RATE)

    def run(*arguments):
        code = cli.main(["repair", "--model", model, *arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


def halved(before, after):
    """Whether one file is the other at half the amplitude, and like it in all else."""
    assert files.describe(before) == files.describe(after)
    was, now = (files.read(path, mono=False)[0] for path in (before, after))
    # At the very ends of a sound that begins or stops at once, resampling and MP3 miss it by a
    # little.
    assert np.mean((now - 0.5 * was) ** 2) < 1e-3 * np.mean(was**2)


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_file_to_file(lin):
    code, out, err = lin("a.wav", "--out", "b.wav")
    assert (code, err) == (0, [])
    assert re.fullmatch(
        r"a\.wav → b\.wav  0:00:01\.0  noise -\d+ → -\d+ dB, nothing above 1\.\d kHz", out[0]
    )
    assert re.fullmatch(r"0:00:01\.0 of sound, [\d.e+]+ times as fast as it plays", out[1])
    halved("a.wav", "b.wav")


def test_a_format_that_cannot_be_written_becomes_wav_in_a_folder(lin):
    encode("in/deep/D.M4A", tone(), RATE, "aac")
    code, _, err = lin("in", "--out", "out")
    assert (code, err) == (0, [])
    assert everything(pathlib.Path("out")) == ["b.flac", "deep/D.wav", "deep/c.mp3"]
    soundfile.write("in/deep/D.wav", tone(), RATE)
    code, out, err = lin("in", "--out", "other")
    assert (code, out, len(err)) == (2, [], 1)
    assert "would both become other/deep/D.wav; name them one by one" in err[0]


def test_standard_input_is_not_replaced(lin):
    message = "lin: -: standard input cannot be replaced; use --out FILE"
    assert lin("-", "--in-place") == (2, [], [message])


def test_what_was_wrong_is_told_in_json(lin):
    noisy = np.clip(2 * tone() + np.random.default_rng(0).normal(0, 0.01, RATE), -0.5, 0.5) + 0.2
    soundfile.write("noisy.wav", noisy, RATE)
    code, out, _ = lin("noisy.wav", "--out", "b.wav", "--json")
    assert code == 0
    (row,) = map(json.loads, out)
    assert list(row) == ["file", "out", "seconds", "format", "before", "after", "cut", "speed"]
    assert (row["file"], row["out"], row["seconds"], row["format"]) == (
        "noisy.wav",
        "b.wav",
        1.0,
        "WAV PCM_16",
    )
    assert row["before"]["clipped"] > 0.3
    assert row["before"]["dc_offset"] == pytest.approx(0.2, abs=0.01)
    assert row["after"]["dc_offset"] == 0
    assert row["after"]["noise_db"] == pytest.approx(row["before"]["noise_db"] - 6.0, abs=0.6)
    assert row["speed"] > 0
    code, out, _ = lin("noisy.wav", "--out", "b.wav")
    assert re.search(r"clipped \d+\.\d%, .*offset 0\.20\d removed", out[0])


def test_folder_to_folder(lin, tmp_path):
    code, out, err = lin("in", "a.wav", "--out", "out")
    assert (code, err) == (0, [])
    assert everything(tmp_path / "out") == ["a.wav", "b.flac", "deep/c.mp3"]
    halved("a.wav", "out/a.wav")
    halved("in/b.flac", "out/b.flac")
    halved("in/deep/c.mp3", "out/deep/c.mp3")
    (line,) = [line for line in out if "c.mp3" in line]
    assert line.endswith("MP3 encoded anew, which loses a little")


def test_folder_within_the_folder_is_no_input_the_next_time(lin, tmp_path):
    for _ in range(2):
        assert lin("in", "--out", "in/clean")[0] == 0
        assert everything(tmp_path / "in/clean") == ["b.flac", "deep/c.mp3"]


@pytest.mark.parametrize("out", ["new", "new/", "in", "new/b.wav"])
def test_one_file_to_a_folder_or_a_file_in_one(lin, tmp_path, out):
    assert lin("a.wav", "--out", out)[0] == 0
    halved("a.wav", out if out.endswith("b.wav") else f"{out}/a.wav")


def test_strength(lin):
    assert lin("a.wav", "--out", "b.wav", "--strength", "0")[0] == 0
    np.testing.assert_array_equal(files.read("b.wav")[0], files.read("a.wav")[0])
    code, _, err = lin("a.wav", "--out", "c.wav", "--strength", "1.1")
    assert (code, len(err)) == (2, 1)
    assert (
        err[0]
        == "lin: strength 1.1: it is how much of the repair is mixed in; choose one from 0 to 1"
    )


def test_in_place(lin, tmp_path):
    before = everything(tmp_path)
    samples = {name: files.read(name, mono=False)[0] for name in ("a.wav", "in/b.flac")}
    code, out, err = lin("a.wav", "./a.wav", "in", "--in-place")
    assert (code, err, len(out)) == (0, [], 4)
    assert out[0].split()[0] in ("./a.wav", "a.wav", "in/b.flac", "in/deep/c.mp3")
    assert everything(tmp_path) == before
    for name, was in samples.items():
        np.testing.assert_allclose(files.read(name, mono=False)[0], 0.5 * was, atol=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav"], "name one place: --out FILE|DIR, or --in-place"),
        (["a.wav", "--out", "b.wav", "--in-place"], "name one place"),
        (["a.wav", "--out", "a.wav"], "a.wav: would be replaced; choose another place for --out"),
        (["a.wav", "--out", "./in/../a.wav"], "a.wav: would be replaced"),
        (["a.wav", "--out", "link.wav"], "a.wav: would be replaced"),
        (["link.wav", "--out", "a.wav"], "link.wav: would be replaced"),
        (["a.wav", "--out", "."], "a.wav: would be replaced"),
        (["in", "--out", "in"], "in/b.flac: would be replaced"),
        (
            ["a.wav", "other/a.wav", "--out", "out"],
            "a.wav and other/a.wav would both become out/a.wav",
        ),
        (["a.wav", "--out", "a.wav/b.wav"], "a.wav/b.wav: cannot be written"),
        (["in", "--out", "/proc/out"], "/proc/out: cannot be written"),
        (["in", "--out", "a.wav"], "a.wav: cannot be written"),
        (["a.wav", "--out", "-"], "--out -: a file or folder is needed"),
    ],
)
def test_refused_before_anything_is_touched(lin, tmp_path, arguments, message):
    (tmp_path / "other").mkdir()
    files.write("other/a.wav", tone(), RATE)
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    before = {name: (tmp_path / name).read_bytes() for name in everything(tmp_path)}
    code, out, err = lin(*arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"lin: {message}")
    assert {name: (tmp_path / name).read_bytes() for name in everything(tmp_path)} == before


@pytest.mark.parametrize("out", ["b.doc", "b.m4a"])
def test_unknown_format_is_named(lin, tmp_path, out):
    before = everything(tmp_path)
    code, _, err = lin("a.wav", "--out", out)
    assert code == 2
    assert err == [f"lin: {out}: no audio format is called {out[1:]}; use .wav or .flac"]
    assert everything(tmp_path) == before


def test_bad_recordings_are_named_and_the_rest_goes_on(lin, tmp_path):
    makers = {name: make for name, (make, _) in BAD.items() if name != "folder"}
    makers |= UNUSUAL | {
        "offset": holds(tone() * 0.1 + 0.5),
        "loud": holds(8 * tone()),
        "5 ms": holds(tone(0.005)),
    }
    makers |= {
        "96 kHz": holds(np.stack([tone(1.0, 96000)] * 2, axis=1), 96000),
        "8 kHz": holds(tone(1.0, 8000), 8000),
    }
    for name, make in makers.items():
        make(tmp_path / f"in/{name}.wav")
    paths = [f"in/{name}.wav" for name in makers]
    code, out, err = lin(*paths, "--out", "out", "--json")
    assert code == 1
    fine = set(makers) - set(BAD) | {"one sample", "all zeros"}
    assert {json.loads(line)["file"] for line in out} == {f"in/{name}.wav" for name in fine}
    assert everything(tmp_path / "out") == sorted(f"{name}.wav" for name in fine)
    assert len(err) == len(makers) - len(fine) + 1, "the last one counts them"
    for name in set(makers) - fine:
        (line,) = [line for line in err if line.startswith(f"lin: in/{name}.wav: ")]
        assert BAD[name][1] in line
    for name in fine - {"offset", "one sample", "all zeros"}:
        halved(f"in/{name}.wav", f"out/{name}.wav")
    samples, _ = files.read("out/offset.wav")
    np.testing.assert_allclose(samples, tone() * 0.05, atol=1e-3)


def test_samples_that_were_cut_are_told(lin, tmp_path):
    holds(4 * tone(amplitude=1.0))(tmp_path / "loud.wav")
    code, _, err = lin("loud.wav", "--out", "b.flac")
    assert code == 0
    assert re.match(
        r"lin: b\.flac: 6\d\.\d\d% of the samples are beyond full scale and were cut, as FLAC PCM_24 must",
        err[0],
    )
    assert lin("loud.wav", "--out", "b.wav")[2] == []


def test_silence_is_left_as_it_is(lin, tmp_path):
    BAD["all zeros"][0](tmp_path / "zeros.wav")
    code, out, _ = lin("zeros.wav", "--out", "b.wav")
    assert code == 0
    assert out[0] == "zeros.wav → b.wav  0:00:01.0  silent, left as it is"
    before, after = ((tmp_path / name).read_bytes() for name in ("zeros.wav", "b.wav"))
    assert before[:60] + before[64:] == after[:60] + after[64:], (
        "alike but for the second in which each was written"
    )


def test_bad_recording_replaces_nothing(lin, tmp_path):
    spoilt(np.nan)(tmp_path / "nan.wav")
    files.write("b.wav", tone(), RATE)
    before = (tmp_path / "b.wav").read_bytes()
    code, out, err = lin("nan.wav", "--out", "b.wav")
    assert (code, out) == (2, [])
    assert "holds NaN" in err[0]
    assert (tmp_path / "b.wav").read_bytes() == before


def test_bundle_of_another_kind_is_refused(lin, capsys, tmp_path, monkeypatch):
    class Other:
        task = "classification"

    monkeypatch.setattr("lin_jax.load", lambda name: Other())
    code, _, err = lin("a.wav", "--out", "b.wav")
    assert code == 2
    assert "a classification bundle where repair is needed; choose another with --model" in err[0]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (-30.0, -61.0, "very noisy → quiet, 31 dB less noise"),
        (-40.0, -55.0, "noisy → a little noise, 15 dB less noise"),
        (-70.0, -70.2, "quiet, no less noise"),
        (None, None, "Repaired"),
    ],
)
def test_noise_in_words(before, after, words):
    result = types.SimpleNamespace(
        before=types.SimpleNamespace(noise_db=before), after=types.SimpleNamespace(noise_db=after)
    )
    assert repair.noise_in_words(result) == words
