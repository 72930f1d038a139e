"""The shared main: flags reach the mode, the config is saved, and errors are one line."""

import json
import pathlib
import subprocess
import sys

import pytest

EXPERIMENT = '''
"""Train nothing: a test."""
import dataclasses
from experiments import _run
from lin_jax.errors import CorpusError

@dataclasses.dataclass
class Inner:
    rate: float = 0.1
    masks: tuple[float, float] = (0.9, 1.1)

@dataclasses.dataclass
class Config:
    seed: int = 0
    inner: Inner = dataclasses.field(default_factory=Inner)

def train(config, features, workdir):
    print("train", config.seed, config.inner.rate, features.name, workdir.name)

def fail(config, features, workdir):
    raise CorpusError("no clips in here: add some")

def interrupt(config, features, workdir):
    raise KeyboardInterrupt

_run.main(Config(), {"train": train, "fail": fail, "interrupt": interrupt})
'''


@pytest.mark.parametrize(
    ("options", "code", "out", "err"),
    [
        (["--config.inner.rate=0.5", "--config.seed=3"], 0, "train 3 0.5 clips run\n", ""),
        (["--mode=fail"], 2, "", "error: no clips in here: add some\n"),
        (["--mode=interrupt"], 130, "", ""),
        (["--config.inner.rat=0.5"], 1, "", None),
        (["seed=3"], 1, "", None),
    ],
    ids=["runs", "error", "interrupt", "typo", "stray"],
)
def test_main(tmp_path, options, code, out, err):
    """Exit codes and output of a run, good or bad; never a traceback."""
    script, workdir = tmp_path / "experiment.py", tmp_path / "run"
    script.write_text(EXPERIMENT)
    command = [sys.executable, str(script), "--features=clips", f"--workdir={workdir}", *options]
    root = pathlib.Path(__file__).parents[2]
    env = {"PYTHONPATH": str(root), "HOME": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (run.returncode, run.stdout if code == 0 else "") == (code, out), run.stderr
    assert err is None or run.stderr == err
    assert "Traceback" not in run.stderr
    if code == 0:
        settings = {"seed": 3, "inner.rate": 0.5, "inner.masks": [0.9, 1.1]}
        assert json.loads((workdir / "config.json").read_text()) == settings
        assert list((tmp_path / ".lin_jax/compiled").iterdir()), (
            "there is a place for what is compiled"
        )


def test_changed_settings_are_told(tmp_path, capsys):
    """A second run with other settings in the same folder says which; one with the same says nothing."""
    import dataclasses

    from experiments import _run

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
