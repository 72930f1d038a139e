"""The command line: what it prepares, what it says, and its exit code."""

import subprocess
import sys

import pytest
from helpers.noise_corpus import write_clip

from data_pipelines import __main__ as command
from data_pipelines import features


def arguments(tmp_path, *more, corpus="table"):
    return [corpus, "--audio-dir", str(tmp_path / "audio"), "--out", str(tmp_path / "out"), *more]


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for name in ("a", "b"):
        write_clip(folder / f"{name}.wav", 0.4, 0)
    (folder / "table.csv").write_text("path,speaker\na.wav,s1\nb.wav,s2\n")
    return folder


def test_prepares_with_the_front_end_asked_for(tmp_path, audio, capsys):
    options = [
        "--frontend.feature=mfcc",
        "--frontend.n_mfcc=13",
        "--frontend.f_max=6e3",
        "--frontend.trim_db=none",
    ]
    assert command.main(arguments(tmp_path, *options, "--workers=1")) == 0
    assert capsys.readouterr().out.startswith("2 clips (0.0 min, 2 speakers) are in ")
    made = features.open_features(tmp_path / "out")
    assert (made.frontend.n_mfcc, made.frontend.f_max, made.frontend.trim_db) == (13, 6000.0, None)
    assert made[0]["features"].shape == (41, 13)


def test_recordings_at_other_speeds_are_further_speakers(tmp_path, audio, capsys):
    assert (
        command.main(arguments(tmp_path, "--speeds", "0.8", "1.25", "--frontend.trim_db=none")) == 0
    )
    assert capsys.readouterr().out.startswith("6 clips (0.0 min, 6 speakers) are in ")
    made = features.open_features(tmp_path / "out")
    assert set(made.speakers) == {"s1", "s1@0.8", "s1@1.25", "s2", "s2@0.8", "s2@1.25"}
    assert {row["speed"]: row["seconds"] for row in made.rows} == pytest.approx(
        {1: 0.4, 0.8: 0.5, 1.25: 0.32}
    )


def test_skips_are_named_and_counted_in_the_exit_code(tmp_path, audio):
    (audio / "b.wav").write_text("no sound")
    line = [sys.executable, "-m", "data_pipelines", *arguments(tmp_path, "--store=waveform")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("1 clips (0.0 min, 1 speakers) are in ")
    assert done.stdout.endswith("; 1 skipped\n")
    assert f"skipped {audio / 'b.wav'}: not readable as audio" in done.stderr
    assert len(features.open_features(tmp_path / "out")) == 1


HAPPY = "03-01-03-01-01-01-01.wav"


@pytest.mark.parametrize(
    ("corpus", "there", "more", "message"),
    [
        ("table", [], ["--audio-dir=nowhere"], "nowhere: no such folder: check --audio-dir"),
        ("table", [], [], "no table.csv or table.tsv in it: write one"),
        (
            "table",
            ["table.csv"],
            ["--table=no.csv"],
            "no.csv: No such file or directory: check --table",
        ),
        ("table", ["table.csv"], ["--frontend.n_mels=0"], "n_mels must be positive"),
        ("table", ["table.csv"], ["--speeds=1"], "speeds 1: choose from 0.5 to 2, and not 1"),
        ("table", ["table.csv"], ["--speeds=3"], "speeds 3: choose from 0.5 to 2, and not 1"),
        ("table", ["table.csv"], ["--workers=0"], "0 workers: give 1 or more"),
        ("ravdess", [], ["--audio-dir=nowhere"], "nowhere: no such folder; check the path"),
        ("ravdess", [], [], "no audio files; put .wav"),
        (
            "ravdess",
            ["03-01-09-01-01-01-01.wav"],
            [],
            "unknown emotion code 09 (RAVDESS has 01 to 08): rename it",
        ),
        ("ravdess", [f"a/{HAPPY}", f"b/{HAPPY}"], [], "two files with one name: "),
        ("ravdess", [HAPPY], ["--channel=song"], "no song in it: choose another channel or folder"),
        ("ravdess", [HAPPY], [], "empty file; copy or record it again"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path, capsys, corpus, there, more, message
):
    (tmp_path / "audio").mkdir()
    for name in there:
        (tmp_path / "audio" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "audio" / name).write_text(
            "path,speaker\na.wav,s\n" if name == "table.csv" else ""
        )
    assert command.main(arguments(tmp_path, *more, corpus=corpus)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


def test_features_of_another_front_end_are_left_alone(tmp_path, audio, capsys):
    assert command.main(arguments(tmp_path)) == 0
    assert command.main(arguments(tmp_path, "--frontend.n_mels=40")) == 2
    assert "another front end, n_mels 64 (asked: 40)" in capsys.readouterr().err
    assert len(features.open_features(tmp_path / "out")) == 2


def test_interrupted(tmp_path, audio, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(features, "prepare", interrupt)
    assert command.main(arguments(tmp_path)) == 130
    assert capsys.readouterr().err == "stopped: run the same command again to go on\n"


@pytest.mark.parametrize(
    "wrong", [["--frontend.n_mels=many"], ["--store=mp3"], ["--frontend.mels=3"]]
)
def test_a_mistyped_option_is_refused(tmp_path, wrong):
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments(tmp_path, *wrong))
