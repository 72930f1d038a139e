"""What is nobody else's business is kept so, and what others could have changed is not used."""

import os
import stat
import sys
import types

import pytest

from lin_jax import compilation_cache, private
from lin_jax.errors import LinError


def test_another_users_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    private.check(tmp_path / "file")
    monkeypatch.setattr(os, "stat", lambda _: types.SimpleNamespace(st_uid=12345, st_mode=0o600))
    with pytest.raises(LinError, match="file: belongs to another user"):
        private.check(tmp_path / "file")


def test_compilation_cache_is_private_or_not_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / ".lin_jax").mkdir(mode=0o755)
    monkeypatch.setattr("sys.modules", {k: v for k, v in sys.modules.items() if k != "jax"})
    compilation_cache.enable()
    folder = os.environ.pop("JAX_COMPILATION_CACHE_DIR")
    while folder != str(tmp_path):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        folder = os.path.dirname(folder)
    (tmp_path / ".lin_jax/compiled").chmod(0o770)
    compilation_cache.enable()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    line = (
        f"nothing compiled is kept or found: {tmp_path}/.lin_jax/compiled: others can write to it"
    )
    assert capsys.readouterr().err.startswith(line)
