"""Who speaks, on the command line: the answers, the gallery, and what is refused."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from helpers import verifiers
from helpers.recordings import BAD, UNUSUAL, two_hours

from lin_jax import bundles, checksums
from lin_jax.apps import cli, gallery
from lin_jax.audio import files
from lin_jax.errors import GalleryError

RATE = verifiers.RATE


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        verifiers.register(patch)
        yield str(
            bundles.save(tmp_path_factory.mktemp("bundle") / "voices", verifiers.verifier(), "")
        )


@pytest.fixture
def lin(tmp_path, monkeypatch, capsys, model):
    """Runs a command in a folder with clips a0-a2 of one speaker, b0-b2 of another, and clips of neither."""
    monkeypatch.chdir(tmp_path)
    for speaker, letter in enumerate("ab"):
        for seed in range(3):
            files.write(f"{letter}{seed}.wav", verifiers.voice(speaker, 1.5, seed), RATE)
    files.write("noise.wav", verifiers.noise(), RATE)
    files.write("silence.wav", np.zeros(RATE, np.float32), RATE)
    files.write("tiny.wav", verifiers.voice(0, 0.3), RATE)
    files.write("short.wav", verifiers.voice(0, 0.8), RATE)
    (tmp_path / "text.wav").write_text("not sound at all")
    (tmp_path / "empty").mkdir()

    def run(command, *arguments):
        kept = ["--gallery", "known"] if command in ("enroll", "identify", "gallery") else []
        chosen = ["--model", model] if command != "gallery" else []
        code = cli.main([command, *arguments, *kept, *chosen])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


def test_verify_answers_in_words_and_in_json(lin):
    code, out, err = lin("verify", "a0.wav", "a1.wav")
    assert (code, err) == (0, [])
    assert out[0].startswith("same speaker, probability 9")
    code, out, _ = lin("verify", "a0.wav", "b0.wav")
    assert out[0].startswith("different speakers, probability of the same 0%")
    code, out, _ = lin("verify", "a0.wav", "b0.wav", "--json")
    row = json.loads(out[0])
    figures = ["score", "distance", "normalised_score", "threshold", "probability"]
    assert list(row) == ["a", "b", "decision", *figures, "reason"]
    assert (row["a"], row["b"], row["decision"], row["threshold"]) == (
        ["a0.wav"],
        ["b0.wav"],
        "different",
        0.5,
    )
    assert row["distance"] == pytest.approx(1 - row["score"], abs=1e-5)


def test_threshold_can_be_chosen(lin):
    assert lin("verify", "a0.wav", "b0.wav", "--threshold", "-1")[1][0].startswith("same speaker")
    code, out, err = lin("verify", "a0.wav", "b0.wav", "--threshold", "7")
    assert (code, out, len(err)) == (2, [], 1)
    assert "between -1 and 1" in err[0]


def test_several_recordings_a_side(lin):
    code, out, _ = lin("verify", "--json", "a0.wav", "a1.wav", "--with", "a2.wav", "b0.wav")
    row = json.loads(out[0])
    assert (code, row["a"], row["b"]) == (0, ["a0.wav", "a1.wav"], ["a2.wav", "b0.wav"])
    for wrong in (["a0.wav"], ["a0.wav", "a1.wav", "a2.wav"]):
        code, out, err = lin("verify", *wrong)
        assert (code, out, len(err)) == (2, [], 1)
        assert "two sides are compared: lin verify A B" in err[0]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("tiny.wav", r"tiny.wav: 0.[23]\d s of sound are too short for a voice, 0.5 s are needed"),
        ("silence.wav", "silence.wav: silent throughout"),
        ("text.wav", "text.wav: not readable as audio"),
        ("missing.wav", "missing.wav: no such file"),
        ("empty", "empty: no audio files"),
    ],
)
def test_unusable_side_is_one_line_and_no_answer(lin, other, message):
    code, out, err = lin("verify", "a0.wav", other)
    assert (code, out, len(err)) == (2, [], 1)
    assert re.match(f"lin: {message}", err[0])
    code, out, err = lin("verify", "a0.wav", "--with", "a1.wav", other)
    assert (code, len(out)) == (1, 1)
    assert out[0].startswith("same speaker"), "the rest of the side goes on"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("noise.wav", "unsure: noise.wav does not sound like speech"),
        ("short.wav", "unsure: short.wav: 0.8 s of sound are too short to be sure, 1 s are needed"),
    ],
)
def test_what_cannot_be_known_is_unsure(lin, other, message):
    for pair in (("a0.wav", other), (other, "a0.wav"), (other, other)):
        code, out, err = lin("verify", *pair)
        assert (code, len(out), err) == (0, 1, [])
        assert out[0].startswith(message)
    row = json.loads(lin("verify", "--json", "a0.wav", other)[1][0])
    assert (row["decision"], row["probability"]) == ("unsure", 0.5)
    assert np.isfinite([row["score"], row["normalised_score"]]).all(), "the score is given"


def test_too_narrow_a_voice_is_unsure_whoever_it_is_and_a_telephone_is_not(lin):
    for name, low in (("narrow.wav", 2500), ("telephone.wav", 3400)):
        files.write(name, verifiers.low_passed(0, low), RATE)
    assert lin("verify", "a0.wav", "telephone.wav")[1][0].startswith("same speaker")
    message = "unsure: narrow.wav: nothing of the voice above 2.4 kHz, 3 kHz are needed to be sure"
    for pair in (("a0.wav", "narrow.wav"), ("narrow.wav", "b0.wav")):
        assert lin("verify", *pair)[1][0].startswith(message)
    lin("enroll", "Ann", "a0.wav")
    assert lin("identify", "narrow.wav", "telephone.wav")[1][0].split()[:2] == [
        "narrow.wav",
        "unsure",
    ]
    row = json.loads(lin("identify", "--json", "narrow.wav")[1][0])
    assert (row["speaker"], row["probability"]) == ("unsure", 0.5)
    assert row["reason"].startswith("narrow.wav: nothing of the voice above 2.4 kHz")
    assert row["score"] == row["scores"]["Ann"] > 0.5
    code, out, err = lin("enroll", "Bob", "narrow.wav")
    assert (code, out, len(err)) == (2, [], 1)
    assert "3 kHz are needed to be sure; add more recordings" in err[0]


def test_file_compared_with_itself_is_said_so(lin):
    code, out, _ = lin("verify", "a0.wav", "a0.wav")
    assert code == 0
    assert out[1].startswith("a0.wav is compared with itself: that tells nothing about the speaker")


def test_bundle_of_another_task_is_refused(lin):
    code, out, err = lin("emotion", "a0.wav")
    assert (code, out, len(err)) == (2, [], 1)
    assert "a verification bundle where classification is needed" in err[0]


def test_embed_writes_what_it_could_hear(lin, model):
    code, out, err = lin("embed", ".", "--out", "emb.npz")
    assert code == 1
    assert out == ["emb.npz: embeddings [8, 64], files, seconds, speech"]
    assert [line.split(":")[1].strip() for line in err[:3]] == [
        "silence.wav",
        "text.wav",
        "tiny.wav",
    ]
    assert (
        err[3] == "lin: 1 of 8, first noise.wav, do not sound like speech: see `speech` in emb.npz"
    )
    with np.load("emb.npz") as kept:
        assert kept["files"].tolist() == [
            *(f"{x}{i}.wav" for x in "ab" for i in range(3)),
            "noise.wav",
            "short.wav",
        ]
        np.testing.assert_allclose(np.linalg.norm(kept["embeddings"], axis=1), 1, rtol=1e-5)
        assert kept["seconds"] == pytest.approx([1.5] * 6 + [2.0, 0.8], abs=0.05)
        assert (kept["speech"] > 0.5).tolist() == [True] * 6 + [False, True]
        bundle = bundles.load(model)
        np.testing.assert_allclose(kept["embeddings"][2], bundle.embed("a2.wav"), atol=1e-5)
        assert str(kept["model"]) == bundle.fingerprint


def test_embed_goes_on_after_every_bad_recording(lin, tmp_path):
    makers = {name: make for name, (make, _) in BAD.items()} | UNUSUAL | {"two hours": two_hours}
    for name, make in makers.items():
        make(tmp_path / f"{name}.wav")
    paths = [str(tmp_path / f"{name}.wav") for name in makers]
    code, _, err = lin("embed", *paths, "--out", "emb.npz")
    assert code == 1
    with np.load("emb.npz") as kept:
        assert kept["files"].tolist() == [str(tmp_path / f"{name}.wav") for name in UNUSUAL]
    refused = {name: message for name, (_, message) in BAD.items()}
    refused |= {"folder": "no audio files", "two hours": "too short for a voice"}
    for name, message in refused.items():
        (line,) = (line for line in err if line.startswith(f"lin: {tmp_path / name}.wav: "))
        assert message in line
    assert err[-1].startswith(f"lin: {len(refused)} of {len(makers)} could not be used")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("nowhere/emb.npz", "No such file"),
        ("empty", "it is a folder"),
        ("a0.wav/emb.npz", "Not a directory"),
    ],
)
def test_unwritable_out_is_said_before_the_work(lin, monkeypatch, out, message):
    monkeypatch.setattr(bundles.Verifier, "embed_all", None)
    code, printed, err = lin("embed", "a0.wav", "--out", out)
    assert (code, printed, len(err)) == (2, [], 1)
    assert err[0].startswith(f"lin: {out}: cannot be written ({message}")


def test_embed_of_nothing_leaves_what_was_there(lin, tmp_path):
    (tmp_path / "emb.npz").write_text("old")
    code, out, err = lin("embed", "text.wav", "missing.wav", "--out", "emb.npz")
    assert (code, out, len(err)) == (2, [], 2)
    assert (tmp_path / "emb.npz").read_text() == "old"
    assert not list(tmp_path.glob(".emb*"))


def test_enrolled_speakers_are_recognised(lin):
    assert lin("enroll", "Анна", "a0.wav", "a1.wav")[:2] == (0, ["Анна: 2 recordings in known"])
    code, out, _ = lin("identify", "a2.wav", "b2.wav", "noise.wav")
    assert code == 0
    assert [line.split()[:2] for line in out] == [
        ["a2.wav", "Анна"],
        ["b2.wav", "unknown"],
        ["noise.wav", "unsure"],
    ]
    lin("enroll", "Bob", "b0.wav")
    rows = [
        json.loads(line) for line in lin("identify", "--json", "b2.wav", "a0.wav", "short.wav")[1]
    ]
    assert [row["speaker"] for row in rows] == ["Bob", "Анна", "unsure"]
    figures = {"score", "distance", "normalised_score", "threshold", "probability"}
    assert set(rows[0]) == {"file", "speaker", *figures, "reason", "scores", "normalised_scores"}
    assert list(rows[0]["scores"]) == ["Bob", "Анна"], "the most alike first"
    assert rows[0]["normalised_scores"] == rows[0]["scores"], "this bundle knows no strangers"
    assert rows[0]["reason"] == ""
    assert (
        "are the same recording" in rows[1]["reason"] or "compared with itself" in rows[1]["reason"]
    )
    assert lin("identify", "b2.wav", "--threshold", "1")[1][0].split()[1] == "unknown"


def test_enrolling_again_adds_and_does_not_repeat(lin):
    lin("enroll", "Ann", "a0.wav")
    assert lin("enroll", "Ann", "a0.wav", "a1.wav")[1] == ["Ann: 2 recordings in known"]
    assert lin("gallery")[:2] == (0, ["Ann              2 recordings, 3 s of sound"])


def test_enrolment_leaves_out_what_is_not_a_voice(lin):
    code, out, err = lin("enroll", "Ann", "a0.wav", "noise.wav", "tiny.wav", "silence.wav")
    assert (code, out) == (1, ["Ann: 1 recording in known"])
    assert err[0] == "lin: noise.wav: does not sound like speech; leave it out or record it again"
    assert err[-1] == "lin: 3 of 4 could not be used, see above; the others were done"
    code, out, err = lin("enroll", "Bob", "noise.wav", "missing.wav")
    assert (code, out, len(err)) == (2, [], 2)
    code, out, err = lin("enroll", "Bob", "short.wav")
    assert (code, out, len(err)) == (2, [], 1)
    assert "too short to be sure" in err[0]
    assert [path.name for path in gallery.Gallery("known").folder.iterdir()] == ["Ann.json"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../Ann", "cannot be the name of a file"),
        ("family/Ann", "cannot be the name of a file"),
        ("a\\b", "cannot be the name of a file"),
        ("Ann ", "cannot be a name"),
        ("Ann\n", "cannot be the name of a file"),
        ("A\0nn", "cannot be the name of a file"),
        ("", "cannot be a name"),
        (".hidden", "cannot be a name"),
        ("a" * 101, "cannot be a name"),
        ("unknown", "an answer, not a name"),
    ],
)
def test_name_that_cannot_be_one_is_refused(lin, tmp_path, name, message):
    code, out, err = lin("enroll", name, "a0.wav")
    assert (code, out, len(err)) == (2, [], 1)
    assert message in err[0]
    assert not (tmp_path / "known").exists()


def test_forgotten_name_is_noticed(lin):
    code, _, err = lin("enroll", "a0.wav", "a1.wav")
    assert code == 2
    assert err == ["lin: a0.wav: a file where the name belongs: lin enroll NAME FILES…"]


def test_empty_gallery_says_how_to_fill_it(lin):
    assert lin("identify", "a0.wav") == (
        2,
        [],
        ["lin: known: nobody is enrolled; first lin enroll NAME FILES…"],
    )
    assert lin("gallery") == (
        0,
        [],
        ["lin: known: nobody is enrolled; first lin enroll NAME FILES…"],
    )


def test_unknown_name_is_refused_and_the_known_forgotten(lin):
    lin("enroll", "Ann", "a0.wav")
    lin("enroll", "Bob", "b0.wav")
    code, out, err = lin("gallery", "--remove", "Ann", "Carl")
    assert code == 1
    assert err[0] == "lin: Carl: not enrolled in known; known are Bob"
    assert [line.split()[0] for line in out] == ["Bob"]
    with pytest.raises(GalleryError, match="not enrolled"):
        gallery.Gallery("known").remove("../a0")


def test_gallery_of_another_model_or_damaged_is_refused(lin, tmp_path):
    lin("enroll", "Ann", "a0.wav")
    path = tmp_path / "known/Ann.json"
    kept = checksums.from_json(path.read_text())
    path.write_text(checksums.to_json(kept | {"model": "another"}))
    code, _, err = lin("identify", "a1.wav")
    assert (code, len(err)) == (2, 1)
    assert "Ann: enrolled with another model" in err[0]
    for damaged in (
        "{",
        "[]",
        checksums.to_json(kept | {"voices": []}),
        checksums.to_json(kept | {"voices": [{"name": "x"}]}),
    ):
        path.write_text(damaged)
        code, _, err = lin("identify", "a1.wav")
        assert (code, len(err)) == (2, 1)
        assert "damaged or not of a gallery; delete it and enroll Ann again" in err[0]
    assert lin("gallery")[0] == 2


def test_gallery_that_cannot_be_written_is_one_line(lin, tmp_path):
    (tmp_path / "known").write_text("a file where the folder belongs")
    code, out, err = lin("enroll", "Ann", "a0.wav")
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("lin: known")


@pytest.fixture
def folk(lin):
    """A folder of three people with three recordings each."""
    for speaker, name in enumerate(("anna", "ben", "cleo")):
        os.makedirs(f"people/{name}")
        for seed in range(3):
            path = f"people/{name}/{seed}.wav"
            files.write(path, verifiers.voice(speaker, 1.5, seed), RATE)
    return lin


def test_calibrate_writes_a_threshold_that_verify_and_identify_use(folk):
    code, out, err = folk("calibrate", "people", "--out", "ours.json")
    assert (code, err) == (0, [])
    assert out[0] == "3 people, 9 recordings, 36 pairs"
    assert re.match(r"threshold +0\.\d\d   \(95 % interval 0\.\d\d to 0\.\d\d\)", out[1])
    assert out[2].startswith("equal error rate   0.0%")
    assert out[-1] == "ours.json: lin verify --calibration ours.json A B"
    row = json.loads(folk("calibrate", "people", "--out", "again.json", "--json")[1][0])
    assert row["people"] == 3
    verdict = json.loads(
        folk("verify", "--json", "--calibration", "ours.json", "a0.wav", "a1.wav")[1][0]
    )
    assert verdict["threshold"] == pytest.approx(row["threshold"], abs=1e-5) != 0.5
    folk("enroll", "Anna", "a0.wav")
    answer = json.loads(folk("identify", "--json", "--calibration", "ours.json", "a1.wav")[1][0])
    assert (answer["speaker"], answer["threshold"]) == ("Anna", verdict["threshold"])
    code, out, err = folk("verify", "--calibration", "nowhere.json", "a0.wav", "a1.wav")
    assert (code, out, len(err)) == (2, [], 1)
    assert "nowhere.json: cannot be read" in err[0]


def test_calibrate_leaves_out_what_tells_nothing(folk):
    os.makedirs("people/nobody")
    shutil.copy("people/ben/0.wav", "people/ben/copy.wav")
    shutil.copy("noise.wav", "people/cleo/noise.wav")
    code, out, err = folk("calibrate", "people", "--out", "ours.json")
    assert (code, out[0]) == (1, "3 people, 9 recordings, 36 pairs")
    for problem, line in zip(
        (
            "nobody: no audio files",
            "copy.wav: the same recording as people/ben/0.wav; left out",
            "noise.wav does not sound like speech; left out",
        ),
        err,
        strict=False,
    ):
        assert problem in line


def test_calibrate_uses_at_most_ten_recordings_a_person(folk):
    for seed in range(3, 14):
        files.write(f"people/anna/{seed:02}.wav", verifiers.voice(0, 1.5, seed), RATE)
    assert folk("calibrate", "people", "--out", "ours.json")[1][0].startswith(
        "3 people, 16 recordings"
    )


def test_calibrate_refuses_what_gives_no_threshold(folk):
    def refused(*arguments):
        code, out, err = folk("calibrate", *arguments, "--out", "ours.json")
        assert (code, out, os.path.exists("ours.json")) == (2, [], False)
        return err[-1]

    assert "missing: no such folder" in refused("missing")
    assert "people/anna: no subfolders" in refused("people/anna")
    os.remove("people/cleo/0.wav")
    assert "cleo: 2 recordings are too few to calibrate by" in refused("people")
    shutil.rmtree("people/cleo")
    assert "2 people are too few" in refused("people")
    for number, name in enumerate(("dora", "emil"), 1):
        os.makedirs(f"people/{name}")
        for seed in range(3):
            path = f"people/{name}/{seed}.wav"
            files.write(path, verifiers.voice(0, 1.5, 10 * number + seed), RATE)
    assert "the voices overlap" in refused("people")
