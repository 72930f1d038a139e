"""The shared main: flags reach the mode, the config is saved, and errors are one line."""

import copy
import dataclasses
import importlib
import json
import pathlib
import subprocess
import sys

import pytest

from experiments import _run

FOLDER = pathlib.Path(_run.__file__).parent
EXPERIMENTS = sorted(p.stem for p in FOLDER.glob("[a-z]*.py") if "_run.main(" in p.read_text())

EXPERIMENT = '''
"""Train nothing: a test."""
import dataclasses
import jax
from experiments import _run
from experiments._run import Stage
from lin_jax.errors import CorpusError
from lin_jax.training.loop import TrainConfig

@dataclasses.dataclass
class Inner:
    """More settings.

    Attributes:
        rate: how fast
            it goes.
    """
    rate: float = 0.1
    masks: tuple[float, float] = (0.9, 1.1)

@dataclasses.dataclass
class Config:
    """Settings.

    Attributes:
        seed: of everything.
    """
    seed: int = 0
    init: str = ""
    inner: Inner = dataclasses.field(default_factory=Inner)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

class Experiment:
    MODES = ("train", "compile", "fail", "interrupt")

    def __init__(self, config, features, bundle):
        self.config, self.features, self.given = config, features, bundle

    def train(self, workdir):
        """Print what is set."""
        config = self.config
        print("train", config.seed, config.inner.rate, self.features, workdir.name, self.given, config.init)

    def compile(self, workdir):
        """Say what is to be compiled."""
        print(self.config.train.compile_only, jax.device_count(), workdir.exists())

    def fail(self, workdir):
        """Fail."""
        raise CorpusError("no clips in here: add some")

    def interrupt(self, workdir):
        """Stop."""
        raise KeyboardInterrupt

TWICE = [
    Stage({"inner.rate": 0.7}, ("train",), "first"),
    Stage({"init": "{workdir}/first/ship", "seed": 5}, ("train",), "second"),
]
_run.main(Experiment, Config(), {"twice": TWICE})
'''


@pytest.mark.parametrize(
    ("options", "code", "out", "err"),
    [
        (
            ["--config.inner.rate=0.5", "--config.seed=3", "--bundle=b"],
            0,
            "train 3 0.5 clips run b \n",
            "",
        ),
        (
            ["--preset=twice", "--config.seed=4"],
            0,
            "train 4 0.7 clips first  \ntrain 4 0.1 clips second  run/first/ship\n",
            "",
        ),
        (["--mode=compile", "--compile_only", "--devices=8"], 0, "True 8 False\n", ""),
        (["--preset=twice", "--mode=fail"], 2, "", "error: no clips in here: add some\n"),
        (["--mode=interrupt"], 130, "", ""),
        (
            ["--config.inner.rat=0.5"],
            1,
            "",
            "error: --config.inner.rat: no such setting; do you mean --config.inner.rate?\n",
        ),
        (["--config.x=0"], 1, "", "error: --config.x: no such setting; --help lists all\n"),
        (["--workdir="], 2, "", "error: give --features and --workdir: --help explains them\n"),
        (["seed=3"], 1, "", None),
    ],
    ids=["runs", "preset", "compile", "error", "interrupt", "typo", "strange", "lacking", "stray"],
)
def test_main(tmp_path, options, code, out, err):
    """Exit codes and output of a run, good or bad; never a traceback."""
    script, workdir = tmp_path / "experiment.py", pathlib.Path("run")
    script.write_text(EXPERIMENT)
    command = [sys.executable, str(script), "--features=clips", f"--workdir={workdir}", *options]
    root = pathlib.Path(__file__).parents[2]
    env = {"PYTHONPATH": str(root), "HOME": str(tmp_path)}
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, cwd=tmp_path
    )
    assert (run.returncode, run.stdout if code == 0 else "") == (code, out), run.stderr
    started, _, rest = run.stderr.partition("\n")
    assert err is None or (rest if "1 process" in started else run.stderr) == err
    assert "Traceback" not in run.stderr
    if code == 0 and "--compile_only" not in options:
        folder = tmp_path / "run" / ("second" if "--preset=twice" in options else "")
        settings = json.loads((folder / "config.json").read_text())
        assert settings["seed"] == (4 if folder.name == "second" else 3)
        assert list((tmp_path / ".lin_jax/compiled").iterdir()), (
            "there is a place for what is compiled"
        )


def test_help(tmp_path):
    """Every setting with its default and its docstring; sizes with that of the network."""
    script = tmp_path / "experiment.py"
    script.write_text(EXPERIMENT)
    root = pathlib.Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, str(script), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root), "HOME": str(tmp_path)},
    )
    assert run.stdout.startswith("Train nothing: a test.")
    assert "--config.inner.rate=0.1\n      how fast it goes.\n" in run.stdout
    assert "--config.inner.masks=0.9,1.1" in run.stdout
    assert "  fail\n      Fail.\n" in run.stdout
    assert "  twice\n      inner.rate=0.7; then init={workdir}/first/ship, seed=5" in run.stdout
    assert run.stderr == ""


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_setting_is_described(name):
    """By a text of its own, not by that of its group; and every preset sets what there is."""
    module = importlib.import_module(f"experiments.{name}")
    text = _run.explain(module.__doc__, module.Experiment, module.CONFIG, module.PRESETS)
    for setting in _run.flatten(module.CONFIG):
        described = _run._described(module.CONFIG, setting)
        assert described, setting
        assert f"--config.{setting}=" in text
    for stages in module.PRESETS.values():
        for stage in stages:
            config = copy.deepcopy(module.CONFIG)
            for setting, value in stage.settings.items():
                _run.assign(config, setting, value)


def test_changed_settings_are_told(tmp_path, capsys):
    """A second run with other settings in the same folder says which; one with the same says nothing."""

    @dataclasses.dataclass
    class Config:
        rate: float = 0.1
        seed: int = 0

    for config in (Config(), Config(), Config(rate=0.01)):
        _run.save_config(config, tmp_path)
    assert (
        capsys.readouterr().err
        == f"settings changed since the last run in {tmp_path}: rate 0.1 → 0.01\n"
    )
