"""The vocoding task: what it compares, whom its two sides teach, and that a tiny network learns
from it.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lin_jax.audio import griffin_lim
from lin_jax.audio.frontend import extract, mel_filter_bank
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.audio.griffin_lim import mel_to_linear
from lin_jax.errors import ConfigError
from lin_jax.models.vocoder import SpectrumDecoder, SpectrumDiscriminator
from lin_jax.tasks import vocoding
from lin_jax.tasks.vocoding import Vocoding, VocodingConfig
from lin_jax.training.state import create_state
from lin_jax.training.step import make_train_step

RATE, B, N = 4000, 3, 2048
FRONTEND = FrontendConfig(
    sample_rate=RATE, n_mels=12, n_fft=256, win_length=256, hop_length=64, trim_db=None
)


def make_task(weight=0.0):
    judge = SpectrumDiscriminator((2, 2)) if weight else None
    mean, std = np.full(12, -20.0, np.float32), np.full(12, 20.0, np.float32)
    return Vocoding(
        SpectrumDecoder(129, 16, (1, 2)), FRONTEND, mean, std, judge, VocodingConfig(weight)
    )


@pytest.fixture(scope="module")
def batch():
    """Buzzes, the last clip filler."""
    t = np.arange(N) / RATE
    x = np.stack(
        [
            0.05 * np.sin(2 * np.pi * hz * np.arange(1, 9)[:, None] * t).sum(axis=0)
            for hz in (110, 170, 240)
        ]
    )
    return {
        "waveform": x.astype(np.float32),
        "length": np.array([N, 1500, N]),
        "weight": np.array([1, 1, 0.0]),
    }


def test_figures_of_the_untrained(batch):
    task = make_task()
    variables = jax.jit(task.init)(jax.random.key(0))
    sums = jax.jit(task.evaluate)(variables, batch)
    figures = task.summarise(sums)
    assert figures["distance"] == pytest.approx(figures["smooth_distance"])
    louder = batch | {"waveform": batch["waveform"] * np.array([[1], [1], [9]], np.float32)}
    louder["waveform"] = np.where(np.arange(N) < batch["length"][:, None], louder["waveform"], 0.3)
    np.testing.assert_allclose(
        jax.jit(task.evaluate)(variables, louder)["distance"], sums["distance"], rtol=1e-5
    )


def test_untrained_it_spreads_the_power_of_each_band(batch, monkeypatch):
    monkeypatch.setattr(griffin_lim, "griffin_lim", lambda magnitude, *sizes, **options: magnitude)
    task = make_task()
    variables = jax.jit(task.init)(jax.random.key(0))
    features, num_frames = extract(FRONTEND, batch["waveform"], batch["length"])
    spoken = jax.jit(task.predict)(variables, {"features": features, "num_frames": num_frames})
    np.testing.assert_array_equal(spoken["length"], 64 * (np.asarray(num_frames) - 1))
    bank = mel_filter_bank(RATE, 256, 12, FRONTEND.f_min, FRONTEND.f_max)
    expected = np.sqrt(mel_to_linear(10 ** (features / 10), bank, vocoding.UPDATES))
    np.testing.assert_allclose(spoken["waveform"], expected, atol=1e-5, rtol=1e-4)


def test_each_side_learns_from_its_own_loss(batch):
    """The maker is not taught by what the judge gets wrong, nor the judge by what the maker
    wants.
    """
    task = make_task(0.5)
    params = jax.jit(task.init)(jax.random.key(0))["params"]

    def gradient(name):
        return jax.jit(
            jax.grad(lambda params: task.loss(params, {}, batch, jax.random.key(0))[1][1][name])
        )(params)

    def moved(tree):
        return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))

    fooled, judged = gradient("fooled"), gradient("judged")
    assert moved(fooled["discriminator"]) == moved(judged["vocoder"]) == 0
    assert moved(fooled["vocoder"]) > 0
    assert moved(judged["discriminator"]) > 0


@pytest.mark.parametrize("weight", [0.0, 0.01])
def test_overfits_one_batch(batch, weight):
    task = make_task(weight)
    optimizer = optax.adam(1e-2)
    state = jax.jit(lambda key: create_state(task, optimizer, key))(jax.random.key(0))
    step = jax.jit(make_train_step(task, optimizer))
    first = None
    for _ in range(80):
        state, sums = step(state, batch, jax.random.key(1))
        first = first or task.summarise(sums)
    last = task.summarise(sums)
    assert last["distance"] < 0.6 * first["smooth_distance"]
    assert ("judged" in last) == bool(weight)


def test_what_cannot_work():
    with pytest.raises(ConfigError, match="adversarial_weight below 0"):
        make_task(-1.0).init(jax.random.key(0))
    deltas = dataclasses.replace(make_task(), frontend=dataclasses.replace(FRONTEND, deltas=1))
    with pytest.raises(ConfigError, match="without deltas"):
        deltas.init(jax.random.key(0))
