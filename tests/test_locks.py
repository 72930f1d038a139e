"""Locks: who is second is told who is first, and nobody is locked out by the dead."""

import subprocess
import sys

import pytest

from lin_jax import locks
from lin_jax.errors import CheckpointError, LinError

HOLD = "import sys, time; from lin_jax import locks\nwith locks.hold(sys.argv[1]): print(1, flush=True); time.sleep(60)"


def test_second_is_told_who_is_first_until_it_is_killed(tmp_path):
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE) as first:
        first.stdout.readline()
        with pytest.raises(CheckpointError, match=f"{folder}: in use by process {first.pid} on "):
            locks.hold(folder, CheckpointError).__enter__()
        first.kill()
    assert (tmp_path / "run.lock").exists()
    for _ in range(2):
        with locks.hold(folder), pytest.raises(LinError, match="in use by process"):
            locks.hold(folder).__enter__()
        assert list(tmp_path.iterdir()) == []


def test_where_no_lock_can_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LinError, match=r"run\.lock: cannot be written \(.*\); free"):
        locks.hold(tmp_path / "file" / "run").__enter__()
