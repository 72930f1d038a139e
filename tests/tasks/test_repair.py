"""The repair task: what it damages, what it counts, and that a tiny network learns from it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lin_jax.audio.degrade import DegradeConfig
from lin_jax.errors import ConfigError
from lin_jax.models.autoencoder import SpectralAutoencoder
from lin_jax.models.enhancer import CausalEnhancer
from lin_jax.tasks.repair import Repair, RepairConfig
from lin_jax.training.state import create_state
from lin_jax.training.step import make_train_step

RATE, B, N = 4000, 4, 4000
NETWORK = SpectralAutoencoder(
    RATE, n_fft=64, hop_length=32, bands=((4, 2), (2, 4), (2, 8)), width=8, inner_width=12, inner=(2,), hidden=16,
    middle=(1, 4),
)  # fmt: skip
WHITE = DegradeConfig(noise_prob=1.0, snr_db=(5.0, 5.0), kinds=(0, 1, 0, 0, 0, 0), second_prob=0.0)


CAUSAL = CausalEnhancer(
    RATE, n_fft=64, hop_length=20, bands=((4, 2), (2, 4), (2, 8)), width=8, bottleneck=4, hidden=16
)  # fmt: skip


def make_task(network=NETWORK, **config):
    sizes = (64, 128)
    return Repair(network, RATE, None, RepairConfig(sizes=sizes, **config), WHITE)


@pytest.fixture(scope="module")
def batch():
    """Gliding tones, the last clip filler."""
    t = np.arange(N) / RATE
    x = np.stack(
        [0.1 * np.sin(2 * np.pi * (hz + 50 * t) * t) for hz in (200, 300, 400, 500)]
    ).astype(np.float32)
    length = np.array([N, 3000, N, N])
    return {
        "waveform": x,
        "length": length,
        "index": np.arange(B),
        "weight": np.array([1.0, 1, 1, 0], np.float32),
    }


@pytest.fixture(scope="module")
def variables():
    """Of a network that was not trained yet."""
    return jax.jit(make_task().init)(jax.random.key(0))


def test_figures_of_the_untrained(batch, variables):
    task = make_task()
    evaluate = jax.jit(task.evaluate)
    sums, again = evaluate(variables, batch), evaluate(variables, batch)
    assert jax.tree.map(float, sums) == jax.tree.map(float, again), "evaluation draws nothing"
    figures = task.summarise(sums)
    assert figures["si_sdr"] == pytest.approx(5, abs=1.0)
    assert figures["si_sdr_gain"] == pytest.approx(0, abs=0.5)
    assert float(sums["weight"]) == 3
    louder = batch | {"waveform": batch["waveform"] * np.array([[1], [1], [1], [9]], np.float32)}
    np.testing.assert_allclose(evaluate(variables, louder)["si_sdr"], sums["si_sdr"], rtol=1e-4)


def test_damage_is_drawn_anew_and_clips_are_moved(batch):
    task = make_task()
    pair = jax.jit(task._pair)
    (damaged, clean), (other, moved) = (pair(jax.random.key(seed), batch) for seed in (0, 1))
    assert not np.allclose(damaged, other)
    np.testing.assert_allclose(clean[0], moved[0])
    assert not np.allclose(clean[1], moved[1]), "the clip that is shorter stands elsewhere"
    np.testing.assert_allclose(
        np.sum(clean[1] ** 2), np.sum(batch["waveform"][1, :3000] ** 2), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("network", "loss"), [(NETWORK, "spectral"), (NETWORK, "mel"), (CAUSAL, "spectral")]
)
def test_learns_a_batch(batch, network, loss):
    task = make_task(network, loss=loss)
    optimizer = optax.adam(3e-3)
    state = jax.jit(functools.partial(create_state, task, optimizer))(jax.random.key(0))
    step = jax.jit(make_train_step(task, optimizer))
    figures = []
    for _ in range(60):
        state, sums = step(state, batch, jax.random.key(1))
        figures.append(task.summarise(sums))
    first, last = (
        np.mean([values["loss"] for values in part]) for part in (figures[:5], figures[-5:])
    )
    assert last < first - 0.1 * abs(first)
    if loss == "spectral":
        assert np.mean([values["si_sdr_gain"] for values in figures[-5:]]) > 2


def test_predict_ignores_what_is_past_the_end(batch, variables):
    predict = jax.jit(make_task().predict)
    loud = batch["waveform"].copy()
    loud[1, 3000:] = 9
    first, second = (
        predict(variables, batch | {"waveform": x})["repaired"] for x in (batch["waveform"], loud)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.asarray(first[1, 3000:]).any()
    assert jnp.shape(first) == (B, N)


@pytest.mark.parametrize(("name", "best"), [("pmsqe", 4.5), ("stoi", 1.0)])
def test_what_is_heard_is_learnt_at_its_own_rate(batch, name, best):
    batch = {**batch, "waveform": np.tile(batch["waveform"], 3), "length": 3 * batch["length"]}
    task = dataclasses.replace(make_task(), sample_rate=16000)
    plain, perceptual = (
        dataclasses.replace(task, config=RepairConfig(sizes=(64,), **{f"{name}_weight": weight}))
        for weight in (0.0, 0.5)
    )
    variables = jax.jit(perceptual.init)(jax.random.key(0))
    before, after = (
        jax.jit(candidate.evaluate)(variables, batch) for candidate in (plain, perceptual)
    )
    np.testing.assert_allclose(after["loss"], before["loss"] - 0.5 * after[name], rtol=1e-4)
    assert perceptual.summarise(after)[name] < best
    assert name not in plain.summarise(before)
    with pytest.raises(ConfigError, match=f"set {name}_weight to 0"):
        make_task(**{f"{name}_weight": 1.0}).init(jax.random.key(0))


@pytest.mark.parametrize(
    "wrong", [{"loss": "l1"}, {"sizes": ()}, {"power": 0.0}, {"complex_share": 2.0}]
)
def test_config_is_checked(wrong):
    with pytest.raises(ConfigError):
        dataclasses.replace(make_task(), config=RepairConfig(**wrong)).init(jax.random.key(0))
