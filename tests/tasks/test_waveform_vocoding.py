"""The task of making waveforms: lengths, padding, whom its two sides teach, what it learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.tiny import drawn

from lin_jax import bundles
from lin_jax.audio.frontend import extract, istft, stft
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.models.vocos import Vocos
from lin_jax.models.waveform_discriminator import WaveformDiscriminator
from lin_jax.tasks.waveform_vocoding import WaveformVocoding, WaveformVocodingConfig
from lin_jax.training.state import create_state
from lin_jax.training.step import make_train_step

RATE, B, N = 4000, 3, 2048
FRONTEND = FrontendConfig(
    sample_rate=RATE, n_mels=12, n_fft=256, win_length=256, hop_length=64, trim_db=None
)
NETWORK = Vocos(n_fft=128, width=32, hidden=48, blocks=2)


def make_task(adversarial_weight=0.0, **options):
    discriminator = WaveformDiscriminator((2, 3), (64,), (4, 8), (4, 4))
    return WaveformVocoding(
        NETWORK,
        FRONTEND,
        np.full(12, -20.0, np.float32),
        np.full(12, 20.0, np.float32),
        discriminator if adversarial_weight else None,
        WaveformVocodingConfig(adversarial_weight=adversarial_weight, **options),
    )


@pytest.fixture(scope="module")
def batch():
    """Buzzes, the last clip filler."""
    t = np.arange(N) / RATE
    harmonics = np.arange(1, 9)[:, None]
    x = [0.05 * np.sin(2 * np.pi * hz * harmonics * t).sum(axis=0) for hz in (110, 170, 240)]
    return {
        "waveform": np.stack(x).astype(np.float32),
        "length": np.array([N, 1500, N]),
        "weight": np.array([1, 1, 0.0]),
    }


def drawn_variables(task):
    return {"params": drawn(lambda key: task.init(key)["params"])}


def test_padding_and_company_change_nothing(batch):
    task = make_task()
    variables, predict = drawn_variables(task), jax.jit(task.predict)
    features, num_frames = extract(FRONTEND, batch["waveform"], batch["length"])
    made = predict(variables, {"features": features, "num_frames": num_frames})
    np.testing.assert_array_equal(made["length"], 64 * (np.asarray(num_frames) - 1))
    assert made["waveform"].shape == (B, N)
    assert not np.any(made["waveform"][1, made["length"][1] :])
    assert np.std(made["waveform"][1, : made["length"][1]]) > 1e-3
    short = num_frames[1:2]
    alone = task.predict(
        variables, {"features": features[1:2, : int(short[0])], "num_frames": short}
    )
    np.testing.assert_allclose(
        made["waveform"][1, : made["length"][1]], alone["waveform"][0], atol=1e-5
    )
    # Loss and figures do not hear what lies past the length, nor filler.
    changed = np.where(np.arange(N) < batch["length"][:, None], batch["waveform"], 0.3)
    changed[2] *= 9
    sums = jax.jit(task.evaluate)(variables, batch)
    again = jax.jit(task.evaluate)(variables, batch | {"waveform": changed})
    np.testing.assert_allclose(again["mel"], sums["mel"], rtol=1e-5)


def test_true_spectrum_gives_the_waveform_to_its_ends(batch):
    """What the network would have to predict: there are no clicks where clips begin and end."""
    x = jnp.asarray(batch["waveform"][:1])
    spectrum = stft(x, NETWORK.n_fft, 32, NETWORK.n_fft)
    spectrum = jnp.pad(spectrum, ((0, 0), (0, 1), (0, 0)))  # a last frame that is not valid
    made = istft(spectrum, 32, NETWORK.n_fft, N, jnp.array([2 * (N // 64) + 1]))
    np.testing.assert_allclose(made, x, atol=1e-5)


def test_each_side_learns_from_its_own_loss(batch):
    task = make_task(1.0)
    params = jax.jit(task.init)(jax.random.key(0))["params"]

    def losses(params):
        sums = task.loss(params, {}, batch, jax.random.key(0))[1][1]
        return jnp.stack([sums["adversarial"] + sums["matching"], sums["discriminator"]])

    gradients = jax.jit(jax.jacrev(losses))(params)  # leaves [2, ...]

    def largest(side, loss):
        return max(float(jnp.abs(leaf[loss]).max()) for leaf in jax.tree.leaves(gradients[side]))

    assert largest("discriminator", 0) == largest("vocoder", 1) == 0
    assert largest("vocoder", 0) > 0
    assert largest("discriminator", 1) > 0


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_overfits_one_batch(batch, weight):
    task, optimizer = make_task(weight, perturbation=0.0), optax.adam(3e-3)
    state = jax.jit(lambda key: create_state(task, optimizer, key))(jax.random.key(0))
    step = jax.jit(make_train_step(task, optimizer))
    first = None
    for _ in range(60):
        state, sums = step(state, batch, jax.random.key(1))
        first = first or task.summarise(sums)
    last = task.summarise(sums)
    assert last["mel"] < 0.5 * first["mel"]
    assert ("discriminator" in last) == bool(weight)


def test_bundle_makes_the_waveform_without_griffin_lim(batch, tmp_path):
    task = make_task()
    variables = drawn_variables(task)
    params = {"params": variables["params"]["vocoder"]}
    bundle = bundles.Vocoder("vocoder", NETWORK, FRONTEND, params, task.mean, task.std)
    loaded = bundles.load(bundles.save(tmp_path / "vocoder", bundle, "a card"))
    assert (loaded.model, loaded.iterations) == (NETWORK, None)
    features, num_frames = extract(FRONTEND, batch["waveform"], batch["length"])
    waveform, length = loaded.vocode(loaded.constants, features, num_frames)
    made = task.predict(variables, {"features": features, "num_frames": num_frames})
    np.testing.assert_allclose(waveform, made["waveform"], atol=1e-5)
    np.testing.assert_array_equal(length, made["length"])


def test_what_cannot_work():
    key = jax.random.key(0)
    with pytest.raises(ConfigError, match="below 0"):
        make_task(-1.0).init(key)
    with pytest.raises(ConfigError, match="give 0 to 1"):
        make_task(perturbation=2.0).init(key)
    deltas = dataclasses.replace(make_task(), frontend=dataclasses.replace(FRONTEND, deltas=1))
    with pytest.raises(ConfigError, match="without deltas"):
        deltas.init(key)
    uneven = dataclasses.replace(make_task(), model=dataclasses.replace(NETWORK, rate=3))
    with pytest.raises(ConfigError, match="change rate or n_fft"):
        uneven.init(key)
