"""`lin warmup`: every job that ships is done once for each length."""

import types

import pytest

from lin_jax import bundles
from lin_jax.apps import cli, jobs, warmup
from lin_jax.errors import BundleError


@pytest.fixture
def done(monkeypatch):
    """Two jobs, of which one has no bundle that ships; what is done, in order."""
    done = []
    stand_ins = [
        types.SimpleNamespace(
            name=name,
            kind="gender",
            bundle=name,
            commands=(),
            warm_up=lambda bundle, seconds: done.append((bundle, seconds)),
        )
        for name in ("gender", "absent")
    ]
    monkeypatch.setattr(jobs, "discover", lambda: tuple(stand_ins))
    monkeypatch.setattr(bundles, "shipped", lambda: ["gender"])
    monkeypatch.setattr(warmup, "load_bundle", lambda name, kind: f"{name} for {kind}")
    return done


def test_every_length_once(done, capsys):
    assert cli.main(["warmup"]) == 0
    assert done == [("gender for gender", seconds) for seconds in warmup.SECONDS]
    assert capsys.readouterr().out.startswith("jobs ready: 1; 0 programs, 0 s of compiling")


def test_a_bundle_that_is_broken(done, monkeypatch, capsys):
    def broken(name, kind):
        raise BundleError(f"{name}: its weights are cut short: install it again")

    monkeypatch.setattr(warmup, "load_bundle", broken)
    assert cli.main(["warmup"]) == 2
    assert "gender: its weights are cut short" in capsys.readouterr().err
    assert not done
