"""The benchmark on tiny networks: every part runs, and what it says is right."""

import json
import sys

import jax
import pytest
from helpers import tiny

import lin_jax
from experiments import benchmark
from experiments.benchmark import Bench, Figure, Job
from lin_jax.errors import ConfigError
from lin_jax.models import residual_classifier

PEER = """#!/bin/sh
cat > /dev/null
echo a warning
echo '{"way": "eager", "first": 9.0, "seconds": [0.2, 0.4, 0.3]}'
echo '{"way": "compiled", "first": 9.0, "seconds": [0.1, 0.1, 0.1]}'
"""


class Bundle:
    """Does nothing, as four bundles."""

    def predict(self, samples, rate):
        return samples.mean() * rate

    embed = repair = predict


@pytest.fixture
def small(monkeypatch):
    """Networks and bundles that compile in a blink."""
    task, batch = tiny.make_task(dropout=0.0), tiny.make_batch(4)
    job = Job((task, batch), (task, batch), "classification", {"B": 4})
    monkeypatch.setattr(benchmark, "jobs", lambda bench: iter([("tiny", job)]))
    monkeypatch.setattr(residual_classifier, "ResidualClassifier", tiny.TinyClassifier)
    monkeypatch.setattr(lin_jax, "load", lambda name: Bundle())


def test_device_bench(small, tmp_path, capsys):
    """All that a GPU should tell: JSON lines with device, versions and sizes, and a table at last."""
    out = tmp_path / "runs/device.jsonl"
    assert benchmark.main(["--what=device", "--tiny", "--repeats=1", f"--out={out}"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + len(rows)
    assert table[0].startswith(f"cpu, jax {jax.__version__}")
    whats = list(dict.fromkeys(row["what"] for row in rows))
    assert whats == ["lstm", "loop", "frontend", "folds", "train", "infer"]
    names = {row["name"]: row for row in rows}
    assert names["FusedLSTM"]["config"] == {"B": 2, "T": 6, "H": 8}
    assert names["FusedLSTM: nn.RNN"]["ours_is_times_as_fast"] > 0
    assert names["resident, 8 steps a call"]["config"]["resident"] == "always"
    assert names["tiny, recipe, batch 4"]["flops_per_second"] > 0
    for row in rows:
        assert row["device"] == "cpu"
        assert row["versions"]["jax"] == jax.__version__
        assert row["milliseconds"] > 0
        assert row["compile_seconds"] >= 0


def test_preparation_and_loader():
    """What needs no device: clips a second of both sides."""
    figures = list(benchmark.measure(["prepare", "loader"], Bench(repeats=1, tiny=True)))
    assert [figure.unit for figure in figures] == ["recordings", "recordings", "clips"]
    assert [figure.amount for figure in figures] == [8, 8, 8]
    assert figures[1].ours is figures[0]


def test_the_five_jobs_can_be_trained():
    """Recipes and plain networks take their batches."""
    names = []
    for name, job in benchmark.jobs(Bench(tiny=True)):
        names.append(name)
        for task, batch in (job.recipe, job.plain):
            variables = dict(jax.eval_shape(task.init, jax.random.key(0)))
            params = variables.pop("params")
            loss, _ = jax.eval_shape(task.loss, params, variables, batch, jax.random.key(0))
            assert loss.shape == ()
        json.dumps(job.sizes)
    assert names == ["emotion", "gender", "verification", "repair", "synthesis"]


def test_beside_a_peer(tmp_path):
    """Ours is timed before and after; how many times as fast it is, is told of the peer."""
    python = tmp_path / "python"
    python.write_text(PEER)
    python.chmod(0o755)
    bench = Bench(torch=str(python), repeats=3, tiny=True)
    ours, eager, compiled = bench.compare("lstm", "layer", lambda: 0, "lstm", {}, amount=2)
    assert len(ours.seconds) == 6
    assert (eager.name, compiled.name) == ("layer: PyTorch, eager", "layer: PyTorch, compiled")
    assert eager.first_seconds == pytest.approx(8.8)
    ours.seconds = [0.1]
    assert eager.row()["ours_is_times_as_fast"] == pytest.approx(3.0)
    assert eager.row()["spread"] == pytest.approx(1 / 3)
    assert "ours 3.00×" in eager.line()


def test_peers_that_are_not_installed_are_named_and_left_out(small, tmp_path, capsys):
    """The others stand beside ours, by the first interpreter that has them."""
    python = tmp_path / "python"
    answers = {"embedding": [0.4], "denoise": [9.0, 0.5]}
    cases = "".join(
        f"""*{name}.py) echo '{{"seconds": {seconds}}}';;\n""" for name, seconds in answers.items()
    )
    python.write_text(f'#!/bin/sh\ncat > /dev/null\ncase "$1" in\n{cases}*) exit 1;;\nesac\n')
    python.chmod(0o755)
    peers = (sys.executable, str(python))
    bench = Bench(repeats=1, tiny=True, peers=peers)
    figures = list(benchmark.measure(["embedding", "denoising"], bench))
    assert [figure.name for figure in figures] == [
        "speaker",
        "speaker: Resemblyzer",
        "repair",
        "repair: DeepFilterNet 3",
        "repair: RNNoise",
    ]
    assert [figure.seconds for figure in figures[1::2]] == [[0.4], [0.5]]
    assert figures[-1].ours is figures[2]
    assert len(figures[2].seconds) == 2
    assert not capsys.readouterr().err
    for missing, reason in (((sys.executable,), "frontend_torchaudio.py: "), ((), "no --peer")):
        bench = Bench(repeats=1, tiny=True, peers=missing)
        assert "log_mel" in [figure.name for figure in benchmark.frontend(bench)]
        message = capsys.readouterr().err
        assert message.startswith("torchaudio is left out: ")
        assert reason in message


def test_mfu(monkeypatch):
    monkeypatch.setattr(benchmark, "_device", lambda: "NVIDIA H100")
    figure = Figure("train", "step", [0.5, 0.5], amount=32, unit="clips", flops=98.9e12)
    assert figure.row()["mfu"] == pytest.approx(0.2)
    assert "64.0 clips/s" in figure.line()
    assert "MFU 20.0%" in figure.line()


def test_what_cannot_be_measured(capsys):
    assert benchmark.main(["--what=frontend,speed"]) == 2
    assert "unknown --what=speed: choose of frontend, prepare" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="name an interpreter that has what it needs as --torch"):
        list(Bench(torch=sys.executable, tiny=True).compare("lstm", "", lambda: 0, "lstm", {}))


def test_time_is_limited(monkeypatch, capsys):
    """What was begun is finished, and no more is begun."""
    figures = [Figure("lstm", name, [1.0]) for name in "ab"]
    monkeypatch.setitem(benchmark.WHAT, "lstm", (lambda bench: iter(figures),))
    assert list(benchmark.measure(["lstm"], Bench(), seconds=0)) == figures[:1]
    assert "0 s are over: the rest is left out" in capsys.readouterr().err
    assert list(benchmark.measure(["lstm"], Bench())) == figures
