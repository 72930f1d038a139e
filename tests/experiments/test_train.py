"""`lin train`: what it runs, in which order, and what it says; the experiments have tests of their own."""

import os
import signal
import subprocess
import sys

import pytest
from helpers.recordings import speak

from data_pipelines import features
from experiments import train
from lin_jax import bundles
from lin_jax.apps import cli
from lin_jax.apps import train as command


@pytest.fixture
def folder(tmp_path):
    """Two speakers with a clip each of either mood."""
    rows = ["path,speaker,mood"]
    for speaker in (1, 2):
        for number, mood in enumerate(("good", "bad")):
            name = f"s{speaker}-{mood}.wav"
            speak(tmp_path / name, 100 * speaker, 500 + 300 * number, seconds=0.6)
            rows.append(f"{name},s{speaker},{mood}")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def commands(monkeypatch):
    """The processes that are started, which do nothing."""
    started = []

    def call(arguments):
        started.append(arguments)
        return 0

    monkeypatch.setattr(command, "call", call)
    return started


def test_prepares_evaluates_and_ships(folder, commands, tmp_path, monkeypatch, capsys):
    describe = bundles.describe
    shipped = tmp_path / "runs/ship/emotion"
    monkeypatch.setattr(
        bundles,
        "describe",
        lambda path: {"task": "classification"} if path == shipped else describe(path),
    )
    out = tmp_path / "runs"
    arguments = ["--data", f"table:{folder}", "--out", str(out), "--label", "mood"]
    assert train.main(["emotion", *arguments, "--config.seeds=2"]) == 0
    made = features.open_features(out / "features/emotion/0-table")
    assert [row["labels"]["mood"] for row in made.rows].count("bad") == 2
    assert made.frontend == bundles.load("emotion").frontend
    evaluate, ship = commands
    assert evaluate[1:3] == ship[1:3] == ["-m", "experiments.emotion"]
    assert (evaluate[-2:], ship[-2:]) == (
        ["--mode=evaluate", "--config.seeds=2"],
        ["--mode=ship", "--config.seeds=2"],
    )
    assert "--config.label=mood" in evaluate
    assert f"--config.fused.features={out}/features/emotion_fused/0-table" in evaluate
    assert f"lin emotion --model {shipped} clip.wav" in capsys.readouterr().out


def test_a_failure_ends_it(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "prepare", lambda data, out, bundle: str(out))
    monkeypatch.setattr(command, "call", lambda arguments: 2)
    assert train.main(["repair", "--data", f"table:{folder}", "--out", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("here", "give CORPUS:FOLDER"),
        ("mars:here", "one of folder"),
        ("table:here", "nothing could be prepared of it"),
    ],
)
def test_data_that_cannot_be_used(tmp_path, capsys, data, message):
    assert train.main(["emotion", "--data", data, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("--config.seed=2", "--config.seed: no such setting; do you mean --config.seeds?"),
        ("--preset=best", "--preset best: choose one of shipped"),
    ],
)
def test_a_typo_is_told_before_the_work(folder, commands, tmp_path, capsys, setting, message):
    out = tmp_path / "runs"
    arguments = ["emotion", "--data", f"table:{folder}", "--out", str(out), setting]
    assert train.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
    assert not commands


def test_the_commands_hand_over(commands):
    assert cli.main(["train", "gender", "--data", "folder:here", "--out", "there"]) == 0
    assert cli.main(["clone", "anna", "clips", "--i-may-use-this-voice"]) == 0
    training, cloning = commands
    assert training[1:] == [
        *("-m", "experiments.train"),
        *("gender", "--data", "folder:here", "--out", "there"),
    ]
    assert cloning[1:] == ["-m", "experiments.clone", "anna", "clips", "--i-may-use-this-voice"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_stopped_saves_first(number):
    """Ctrl-C goes to all processes of a terminal; SIGTERM to the one that was started."""
    child = (
        "import signal, sys, time; save = lambda *_: (time.sleep(0.5), print('saved'), sys.exit(7));"
        "signal.signal(2, save), signal.signal(15, save), print(1, flush=True), time.sleep(60)"
    )
    program = (
        "import sys; from lin_jax.apps import train; from lin_jax.errors import exit_code;"
        f"sys.exit(exit_code(lambda: train.call([sys.executable, '-c', {child!r}])))"
    )
    started = [sys.executable, "-c", program]
    with subprocess.Popen(started, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"1\n"
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert process.stdout.read() == b"saved\n"
    assert process.returncode == 7
