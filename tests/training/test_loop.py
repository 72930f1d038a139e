"""The loop: resuming is exact, whatever ended the run; and a run that cannot go on says why."""

import dataclasses
import pathlib
import re
import resource
import signal

import jax
import numpy as np
import pytest
from helpers import tiny

from lin_jax import compilation
from lin_jax.errors import CheckpointError, ConfigError, TrainingError
from lin_jax.training import cost, loop, optim, writers


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run left alone."""
    return tiny.fit(tmp_path_factory.mktemp("unbroken"))


def assert_same_arrays(result, expected):
    """Equal bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, result, expected)


def assert_same_run(result, expected):
    """Every array of the state, the best variables and the history are equal bit for bit."""
    for ours, theirs in ((result.state, expected.state), (result.variables, expected.variables)):
        assert_same_arrays(ours, theirs)
    assert (result.best, result.best_step) == (expected.best, expected.best_step)
    assert result.history == expected.history


def test_killed_again_and_again_ends_the_same(unbroken, tmp_path):
    """SIGKILL before the first checkpoint, while one is being written, and late.

    Then left to finish.
    """
    for batch, latest in ((3, {None}), (10, {4, 6, 8}), (14, {12, 16, 18, 20})):
        run = tiny.run_alone(tmp_path, batch)
        assert run.returncode == -signal.SIGKILL, run.stderr
        complete = [int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
        assert max(complete, default=None) in latest
    assert_same_run(tiny.fit(tmp_path), unbroken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_exit(unbroken, tmp_path, number):
    """The exit code is the shell's, the checkpoint is of the very step, and the next call goes on
    from it.
    """
    usual = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped:
        tiny.fit(tmp_path, loader=tiny.Interrupting(tiny.train_loader(), number, 15))
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) is usual
    assert (tmp_path / "checkpoints" / "14").is_dir()
    result = tiny.fit(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, result.state, unbroken.state)
    assert result.best == unbroken.best


def test_finished_run_is_returned_as_it_was(unbroken, tmp_path):
    """Calling again after the end trains no further."""
    assert_same_run(tiny.fit(tmp_path), unbroken)
    again = tiny.fit(tmp_path)
    assert_same_run(again, unbroken)
    assert again.compile_seconds is None


def test_history_and_best(unbroken):
    """Reports come when asked for, and the best evaluation is the one whose variables are given."""
    evaluations = {row["step"]: row["eval/uar"] for row in unbroken.history if "eval/uar" in row}
    assert list(evaluations) == [6, 12, 18, 24]
    assert (
        unbroken.best["uar"] == max(evaluations.values()) == evaluations[unbroken.best_step] > 0.8
    )
    reports = [row["step"] for row in unbroken.history if "train/loss" in row]
    assert reports == [3, 4, 6, 8, 9, 12, 15, 16, 18, 20, 21, 24]
    assert {"train/accuracy", "train/learning_rate", "train/grad_norm"} <= unbroken.history[
        0
    ].keys()
    assert unbroken.compile_seconds > 0.0


def test_several_steps_in_one_call_are_the_same_run(unbroken, tmp_path):
    """The same bits as single calls, stopped in between, with a last call that is shorter."""
    options = {"log_every": 5, "eval_every": 10, "checkpoint_every": 5}
    single = tiny.fit(tmp_path / "single", **options)
    assert_same_arrays(single.state, unbroken.state)
    loader = tiny.Interrupting(tiny.train_loader(), signal.SIGTERM, 11)
    with pytest.raises(SystemExit):
        tiny.fit(tmp_path / "scanned", loader=loader, steps_per_call=5, **options)
    scanned = tiny.fit(tmp_path / "scanned", steps_per_call=5, **options)
    assert_same_run(scanned, single)


def test_what_falls_due_within_a_call_comes_after_it(tmp_path):
    """Nothing is left out, and nothing comes twice."""
    options = {"log_every": 3, "eval_every": 6, "checkpoint_every": 100}
    history = tiny.fit(tmp_path, steps_per_call=4, num_steps=14, **options).history
    assert [row["step"] for row in history if "eval/loss" in row] == [8, 12, 14]
    assert [row["step"] for row in history if "train/loss" in row] == [4, 8, 12, 14]


class Reports(writers.Writer):
    """Keeps what is written."""

    def __init__(self):
        self.scalars, self.texts = {}, {}

    def write_scalars(self, step, scalars):
        self.scalars.setdefault(step, {}).update(scalars)

    def write_texts(self, step, texts):
        self.texts.update(texts)


class Varied(tiny.Interrupting):
    """Every third batch is longer."""

    def __next__(self):
        self.left -= 1
        batch = next(self.loader)
        if self.left % 3 == 0:
            batch["features"] = np.pad(batch["features"], [(0, 0), (0, 4), (0, 0)])
        return batch


def test_what_a_run_costs(tmp_path, monkeypatch):
    """Every report says it; each of two lengths is compiled once, and a trace is written."""
    monkeypatch.setattr(cost, "peak_flops", lambda kind: 1e12)
    monkeypatch.setattr(cost, "peak_memory", lambda: 2_000_000_000)
    reports, loader = Reports(), Varied(tiny.train_loader(), None, 0)
    config = loop.TrainConfig(num_steps=8, log_every=1, profile="3:4")
    optim_config = optim.OptimConfig()
    result = loop.fit(tiny.make_task(), config, optim_config, loader, None, tmp_path, reports)
    assert [n for n, row in reports.scalars.items() if "cost/compile_seconds" in row] == [1, 2]
    costs = {n: v for n, v in reports.scalars[5].items() if n.startswith("cost/")}
    flops = 3 * 2 * 16 * (6 * 16 + 16 * 3) - 2 * 16 * 6 * 16  # none for the input's gradient
    flops += 2 * 16 * 3 * 3  # the confusion matrix
    assert costs["cost/examples_per_second"] == pytest.approx(16e3 / costs["cost/step_ms"])
    speed = 1e3 * flops / costs["cost/step_ms"]
    assert costs["cost/flops_per_second_per_device"] == pytest.approx(speed)
    assert costs["cost/mfu"] == pytest.approx(speed / 1e12)
    assert costs["cost/peak_memory_bytes"] == 2e9
    assert 0.0 < costs["cost/data_wait_percent"] <= 100.0
    assert not any(name.startswith("cost/") for row in result.history for name in row)
    assert re.fullmatch(
        r"[\d.]+ ms a step, [\d,]+ examples/s, \d+ % waiting for data, [\d.]+ GFLOP/s a device, "
        r"MFU [\d.]+ %, \d+ s compiling \d+ programs, 2.0 GB at most",
        reports.texts["cost"],
    )
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_compile_only(tmp_path, capsys):
    """What a step costs is printed, and none is made."""
    with pytest.raises(SystemExit) as ended:
        tiny.fit(tmp_path, compile_only=True)
    assert ended.value.code == 0
    line = capsys.readouterr().out
    pattern = r"compiled for 1 × cpu in [\d.]+ s: (.+) MFLOP a step; on each device (.+) MB, of which (.+)"
    flops, memory, held = re.match(pattern + " MB are state and batches", line).groups()
    assert float(flops) == 0.011  # as in the test above
    # Parameters, their moments and average, and a batch: 16 clips of 12 frames of 6 features.
    assert 4e-6 * (5 * 160 + 16 * 12 * 6) < float(held) < float(memory)
    assert not list(tmp_path.iterdir())


class Poisoned(tiny.Interrupting):
    """A loader whose n-th batch holds a NaN."""

    def __next__(self):
        batch = next(self.loader)
        self.left -= 1
        if self.left == 0:
            batch["features"][0, 0, 0] = np.nan
        return batch


@pytest.mark.parametrize(("at_batch", "last_good"), [(2, "no checkpoint"), (11, r"checkpoints/8:")])
def test_nan_stops_the_run(tmp_path, at_batch, last_good):
    """The error names the step and the last good checkpoint, which is still there."""
    with pytest.raises(
        TrainingError, match=f"not finite at step {at_batch}; .*{last_good}.*lower learning_rate"
    ):
        tiny.fit(tmp_path, loader=Poisoned(tiny.train_loader(), None, at_batch), eval_every=100)
    saved = [p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
    assert saved == ([] if at_batch == 2 else ["8"])


def test_early_stopping(tmp_path):
    """The run ends after `patience` evaluations without a better one, for good."""
    options = {"num_steps": 200, "eval_every": 2, "early_stopping_patience": 3}
    result = tiny.fit(tmp_path, **options)
    assert int(result.state.step) == result.best_step + 3 * 2 < 200
    assert int(tiny.fit(tmp_path, **options).state.step) == result.state.step


def test_without_evaluation(tmp_path):
    """The last variables are given where there is nothing to choose by."""
    result = tiny.fit(tmp_path, evaluation=None, num_steps=3)
    assert result.best == {}
    jax.tree.map(np.testing.assert_array_equal, result.variables, result.state.variables)


def test_checkpoint_of_another_model(tmp_path):
    """The first array that differs is named, and nothing is overwritten."""
    tiny.fit(tmp_path, num_steps=3, evaluation=None)
    with pytest.raises(
        CheckpointError, match=r"another model .*ema.* is .* in it, .*: use another workdir"
    ):
        tiny.fit(tmp_path, task=tiny.make_task(num_units=8))
    assert (tmp_path / "checkpoints" / "3").is_dir()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"log_every": 0}, ConfigError, "log_every is 0: choose at least 1"),
        ({"steps_per_call": 0}, ConfigError, "steps_per_call is 0: choose at least 1"),
        ({"profile": "12"}, ConfigError, "'12' is no range of steps: try 10:13"),
        ({"profile": "9:8"}, ConfigError, "'9:8' is no range of steps: try 10:13"),
        ({"parallel": "pmapp"}, ConfigError, "choose one of jit, pmap"),
        (
            {"evaluation": lambda: iter([])},
            ConfigError,
            "evaluation data is empty: check the split",
        ),
        (
            {"loader": "one pass"},
            TrainingError,
            "ended before the last step: make the loader with epochs=None",
        ),
    ],
)
def test_bad_settings(tmp_path, options, error, message):
    """Each is told in one line, with the mend."""
    if "loader" in options:
        loader = iter(tiny.grain.MapDataset.source(tiny.make_clips()).batch(16).to_iter_dataset())
        options = {"loader": loader}
    with pytest.raises(error, match=message):
        tiny.fit(tmp_path, **options)


def test_full_disk_under_the_logs(tmp_path):
    """It is told every time, nobody waits for a thread that died of it, and what was written
    stays.
    """
    writer = writers.create(tmp_path, num_steps=20)
    writer.write_scalars(1, {"train/loss": 0.5})
    writer.flush()

    def write():
        writer.write_texts(2, {"note": "long " * 1000})
        writer.flush()

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for _ in range(20):
            with pytest.raises(OSError, match="too large"):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.close()
    assert (tmp_path / "metrics.jsonl").read_text().startswith('{"step": 1, "train/loss": 0.5}\n')


def test_writers(tmp_path, capsys):
    """Scalars reach the JSON lines, the event files and the terminal; NaN becomes null."""
    writer = writers.create(tmp_path, num_steps=20)
    writer.write_hparams({"seed": 1})
    writer.write_scalars(10, {"train/loss": 0.5, "cost/examples_per_second": 1234.0})
    writer.write_scalars(10, {"eval/uar": float("nan")})
    writer.write_images(10, {"confusion": np.zeros((4, 4, 3), np.uint8)})
    writer.write_audios(10, {"clip": np.zeros(100, np.float32)}, sample_rate=16000)
    writer.write_histograms(10, {"weights": np.arange(9.0)})
    writer.write_texts(10, {"note": "a table\nhalfway"})
    writer.flush()
    writer.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines == [
        '{"hparams": {"seed": 1}}',
        '{"step": 10, "train/loss": 0.5, "cost/examples_per_second": 1234.0}',
        '{"step": 10, "eval/uar": null}',
        '{"step": 10, "note": "a table\\nhalfway"}',
    ]
    events = b"".join(p.read_bytes() for p in pathlib.Path(tmp_path / "tensorboard").iterdir())
    assert all(
        tag in events for tag in (b"train/loss", b"confusion", b"clip", b"weights", b"hparams")
    )
    assert capsys.readouterr().err.splitlines() == ["step 10/20  eval uar nan", "step 10: halfway"]


def test_the_parameters_are_listed_once(tmp_path):
    """A run that is resumed does not list them again."""
    listed = []

    class Listener(writers.Writer):
        def write_texts(self, step, texts):
            listed.extend(texts[name] for name in texts if name == "parameters")

    for num_steps in (2, 4):
        config = loop.TrainConfig(num_steps=num_steps)
        loop.fit(
            tiny.make_task(),
            config,
            optim.OptimConfig(),
            tiny.train_loader(),
            None,
            tmp_path,
            Listener(),
        )
    (table,) = listed
    assert "Dense_1/kernel" in table
    assert "Total: 179" in table  # 6 x 16, BatchNorm 2 x 16, 16 x 3 + 3


def test_trainings_of_other_constants_share_what_is_compiled(tmp_path):
    """As the folds of a cross-validation: only the first compiles, and each is what it is alone."""

    def make_task(constants):
        mean, std, weights = constants
        task = tiny.make_task(mixup_alpha=0.2)
        return dataclasses.replace(task, mean=mean, std=std, class_weights=weights)

    config, settings = loop.TrainConfig(num_steps=4, eval_every=2), optim.OptimConfig(ema_decay=0.9)

    def train(folder, constants, seed, program=None):
        return loop.fit(
            make_task(constants),
            dataclasses.replace(config, seed=seed),
            settings,
            tiny.train_loader(seed=seed),
            tiny.eval_loader,
            tmp_path / folder,
            program=program,
            constants=constants,
        )

    program, programs = loop.Program(make_task, config, settings), []
    for seed in range(3):
        shift = np.full(tiny.D, 0.3 * seed, np.float32)
        constants = shift, 1.0 + shift, 1.0 + np.arange(tiny.C, dtype=np.float32) * seed
        with compilation.CompilationClock() as clock:
            result = train(f"shared-{seed}", constants, seed, program)
        programs.append(clock.programs)
    assert programs[0] > 0
    assert programs[1:] == [0, 0]
    assert_same_run(result, train("alone", constants, 2))
