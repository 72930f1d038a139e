"""Compilations are counted, and announced to whoever waits for them."""

import threading
import time

import jax
import jax.numpy as jnp
import pytest

from lin_jax import compilation


def test_compilations_are_counted():
    """One a shape, and none for a shape that was met."""
    double = jax.jit(lambda x: 2 * x + 1)
    short, long = jnp.zeros(3), jnp.zeros(5)
    with compilation.CompilationClock() as clock:
        for argument in (short, long, short, long):
            double(argument)
    double(jnp.zeros(7))
    assert clock.programs == 2
    assert clock.seconds > 0.0


@pytest.mark.parametrize("compiles", [True, False])
def test_who_waits_for_a_compilation_is_told(monkeypatch, capsys, compiles):
    """Not for one that is quick, and not where nothing is compiled however long it takes."""
    monkeypatch.setattr(compilation, "PATIENCE", 0.2)
    monkeypatch.setattr(compilation, "_announced", threading.Event())
    triple = jax.jit(lambda x: 3 * x - 1)
    argument = jnp.zeros(4)
    if not compiles:
        triple(argument)
    for values in (argument, jnp.zeros(5)) if compiles else (argument,):  # said once
        with compilation.announced():
            triple(values)
            time.sleep(0.5)
    assert capsys.readouterr().err == ("first use: compiling, once\n" if compiles else "")
