"""The acoustic task: a tiny batch is learnt by heart, and padding changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.models.acoustic import AcousticModel
from lin_jax.tasks.acoustic import AcousticConfig, AcousticSynthesis

M, E, V = 8, 6, 5
FRONTEND = FrontendConfig(n_mels=M, n_mfcc=M)
NETWORK = AcousticModel(M, V, 8, 8, 4, 16, (1, 2), dropout=0.0)


def make_task(**config):
    config = AcousticConfig(**config)
    return AcousticSynthesis(NETWORK, FRONTEND, np.zeros(M), np.ones(M), E, config)


def make_batch(extra_frames=0, extra_symbols=0):
    rng = np.random.default_rng(0)
    symbols = np.array([[2, 3, 1, 0], [4, 2, 3, 1]])
    durations = np.array([[3, 4, 2, 0], [2, 5, 3, 2]])
    frames = durations.sum(axis=1)
    features = np.zeros((2, 12 + extra_frames, M), np.float32)
    for b in range(2):
        table = rng.normal(size=(V, M))
        features[b, : frames[b]] = np.repeat(table[symbols[b]], durations[b], axis=0)
    wide = ((0, 0), (0, extra_symbols))
    return {
        "symbols": np.pad(symbols, wide),
        "num_symbols": np.array([3, 4]),
        "durations": np.pad(durations, wide),
        "features": features,
        "num_frames": frames,
        "voice": np.eye(2, E, dtype=np.float32),
        "weight": np.ones(2, np.float32),
    }


def test_learns_a_batch_by_heart():
    task, batch = make_task(unconditional=0.0, voice_noise=0.0), make_batch()
    params = task.init(jax.random.key(0))["params"]
    optimiser = optax.adam(1e-2)

    @jax.jit
    def step(params, state, key):
        (loss, _), gradient = jax.value_and_grad(task.loss, has_aux=True)(params, {}, batch, key)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(params, updates), state, loss

    state, losses = optimiser.init(params), []
    for number in range(300):
        params, state, loss = step(params, state, jax.random.key(number))
        losses.append(float(loss))
    assert np.mean(losses[-20:]) < 0.3 * losses[0]
    durations, encoded, voice = NETWORK.apply(
        {"params": params},
        batch["symbols"],
        batch["num_symbols"],
        batch["voice"],
        method="predict_durations",
    )
    np.testing.assert_allclose(durations, batch["durations"], atol=1)
    noise = np.zeros_like(batch["features"])
    frames, count = NETWORK.apply(
        {"params": params}, encoded, voice, batch["durations"], noise, method="generate"
    )
    np.testing.assert_array_equal(count, batch["num_frames"])
    assert np.mean((frames - batch["features"]) ** 2) < 0.5 * np.mean(batch["features"] ** 2)


def test_padding_changes_nothing():
    """Neither symbols nor frames past the end of a clip move what is drawn or its loss."""
    task = make_task()
    variables = task.init(jax.random.key(1))
    rng = np.random.default_rng(2)
    variables = jax.tree.map(
        lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32), variables
    )
    results = []
    for extra in (0, 4):
        batch = make_batch(extra, extra)
        noise = np.pad(
            rng.normal(size=(2, 12, M)) if not results else results[0][2],
            ((0, 0), (0, extra), (0, 0)),
        )
        durations, encoded, voice = NETWORK.apply(
            variables,
            batch["symbols"],
            batch["num_symbols"],
            batch["voice"],
            method="predict_durations",
        )
        frames, _ = NETWORK.apply(
            variables, encoded, voice, batch["durations"], noise, guidance=0.5, method="generate"
        )
        results.append((durations[:, :4], frames[:, :12], noise[:, :12]))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5)


def test_soft_symbols_are_symbols():
    """How likely each symbol is may take the place of its number."""
    batch, variables = make_batch(), make_task().init(jax.random.key(0))
    hard = NETWORK.apply(
        variables, batch["symbols"], batch["num_symbols"], batch["voice"], method="encode"
    )
    soft = NETWORK.apply(
        variables,
        jax.nn.one_hot(batch["symbols"], V),
        batch["num_symbols"],
        batch["voice"],
        method="encode",
    )
    for expected, actual in zip(hard, soft, strict=True):
        np.testing.assert_allclose(expected, actual, atol=1e-5)


def test_every_symbol_has_a_frame_at_any_speed():
    batch, variables = make_batch(), make_task().init(jax.random.key(0))
    inputs = batch["symbols"], batch["num_symbols"], batch["voice"]
    for speed in (0.5, 2.0, 100.0):
        durations, *_ = NETWORK.apply(variables, *inputs, speed, method="predict_durations")
        real = jnp.arange(4) < batch["num_symbols"][:, None]
        assert (durations[real] >= 1).all()
        assert not durations[~real].any()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"unconditional": 1.0}, {"temperature": -1.0}])
def test_settings_that_cannot_work(wrong):
    with pytest.raises(ConfigError, match="give a step or more"):
        make_task(**wrong).init(jax.random.key(0))
