"""Parts trained together: gradients reach them all, what is frozen stays, and a batch is learnt by heart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lin_jax.audio.degrade import DegradeConfig
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.models.acoustic import AcousticModel
from lin_jax.models.autoencoder import SpectralAutoencoder
from lin_jax.models.speaker_encoder import SpeakerEncoder
from lin_jax.tasks.acoustic import AcousticSynthesis
from lin_jax.tasks.joint import PARTS, JointCloning, JointConfig
from lin_jax.tasks.repair import Repair
from lin_jax.tasks.verification import Verification, VerificationConfig
from lin_jax.training import optim
from lin_jax.training.state import create_state
from lin_jax.training.step import make_train_step

RATE, N, M, V = 8000, 4000, 8, 5
FRONTEND = FrontendConfig(sample_rate=RATE, n_mels=M, n_mfcc=M, level="rms", level_db=-25.0)
NOISE = DegradeConfig(noise_prob=1.0, kinds=(0, 1, 0, 0, 0, 0), snr_db=(0.0, 0.0))


@pytest.fixture(scope="module")
def start():
    """The tasks of the parts, and their variables as of bundles."""
    bands, sizes = ((4, 4), (2, 8)), {"inner_width": 4, "bottleneck": 2, "hidden": 8}
    network = SpectralAutoencoder(
        RATE, n_fft=64, hop_length=32, bands=bands, width=4, inner=(1,), middle=(1,), **sizes
    )
    encoder = SpeakerEncoder(widths=(4, 8), blocks=(0, 1), hidden=8, embedding=6)
    speaker = AcousticModel(M, V, 8, 8, 4, 16, 12, (1, 2), dropout=0.0, content_dilations=())
    tasks = {
        "repair": Repair(network, RATE, degrade=NOISE),
        "encoder": Verification(
            encoder,
            0,
            FRONTEND,
            np.full(M, -40.0),
            np.full(M, 20.0),
            VerificationConfig(loss="triplet"),
        ),
        "acoustic": AcousticSynthesis(speaker, FRONTEND, np.zeros(M), np.ones(M), 6),
    }
    variables = {name: jax.jit(task.init)(jax.random.key(1)) for name, task in tasks.items()}
    known = variables["encoder"]
    variables["encoder"] = {**known, "params": known["params"]["encoder"]}
    return tasks, variables


@pytest.fixture(scope="module")
def batch():
    """Two voices of two lengths, and what they say."""
    rng, t = np.random.default_rng(0), np.arange(N) / RATE
    waveform = np.stack([0.1 * np.sin(2 * np.pi * hz * t) for hz in (300, 1700)])
    durations = np.array([[3, 4, 2, 0], [2, 5, 3, 2]])
    return {
        "waveform": np.float32(waveform),
        "length": np.array([N, N - 500]),
        "index": np.arange(2),
        "weight": np.ones(2, np.float32),
        "symbols": np.array([[2, 3, 1, 0], [4, 2, 3, 1]]),
        "num_symbols": np.array([3, 4]),
        "durations": durations,
        "pitch": np.zeros((2, 4)),
        "voicing": np.ones((2, 4)),
        "features": np.float32(rng.normal(size=(2, 12, M))),
        "num_frames": durations.sum(axis=1),
    }


def make_task(start, **config):
    tasks, variables = start
    return JointCloning(*tasks.values(), variables, JointConfig(**config))


def moved(before, after) -> bool:
    return not jax.tree.all(jax.tree.map(np.array_equal, before, after))


def test_gradients_of_what_is_spoken_reach_the_repair(start, batch):
    """Through acoustic model and encoder, without any consistency."""
    task = make_task(start, freeze="", consistency_weight=0.0, acoustic_weight=1.0)
    variables = task.init(jax.random.key(0))
    params = variables.pop("params")
    grads, _ = jax.jit(jax.grad(task.loss, has_aux=True))(
        params, variables, batch, jax.random.key(0)
    )
    assert set(grads) == set(PARTS)
    for part in PARTS:
        norm = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(grads[part]))
        assert np.isfinite(norm), part
        assert norm > 0, part


def test_a_batch_is_learnt_by_heart_and_what_is_frozen_stays(start, batch):
    """Weight decay does not move it either."""
    _, variables = start
    freeze = "encoder"
    task = make_task(start, freeze=freeze, acoustic_weight=1.0)
    optimiser = optim.build(
        optim.OptimConfig(5e-3, schedule="constant", weight_decay=0.1, clip_norm=1.0), 60
    )
    state = create_state(task, optimiser, jax.random.key(0), ema_decay=0.9)
    step, losses = jax.jit(make_train_step(task, optimiser, ema_decay=0.9)), []
    same = jax.random.key(3)
    for _ in range(60):
        state, sums = step(state, batch, same)
        losses.append(float(sums["loss"]))
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    parts = task.parts({"params": state.params, **state.model_state})
    assert {part for part in PARTS if moved(variables[part], parts[part])} == set(PARTS) - {freeze}
    assert not moved(variables["encoder"], parts["teacher"])
    assert set(state.params) == set(PARTS) - {freeze}, "the optimiser sees no more"


def test_it_is_the_parts_in_series(start, batch):
    """What is predicted is what each part gives by itself, one after the other."""
    tasks, known = start
    task = make_task(start)
    variables = task.init(jax.random.key(0))
    predict = jax.jit(task.predict)
    predicted = predict(variables, batch)
    given, length = batch["waveform"], batch["length"]
    repaired = jax.jit(tasks["repair"].model.apply)(known["repair"], given, length)
    np.testing.assert_allclose(predicted["repaired"], repaired, atol=1e-5)
    within = np.where(np.arange(N) < length[:, None], repaired, 0.0)
    rms = np.sqrt((within**2).sum(axis=1) / length)
    levelled = {"waveform": within * (10 ** (-25 / 20) / rms)[:, None], "length": length}
    encoder = {**known["encoder"], "params": {"encoder": known["encoder"]["params"]}}
    profile = jax.jit(tasks["encoder"].predict)(encoder, levelled)["embedding"]
    np.testing.assert_allclose(predicted["profile"], profile, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(profile, axis=1), 1.0, atol=1e-4)


def test_evaluation_is_the_same_every_time_and_compares(start, batch):
    task = make_task(start, acoustic_weight=1.0, repair_weight=0.1)
    variables, evaluate = task.init(jax.random.key(0)), jax.jit(task.evaluate)
    figures = task.summarise(evaluate(variables, batch))
    assert figures == task.summarise(evaluate(variables, batch))
    assert set(figures) == {"cosine", "cosine_damaged", "repair", "acoustic", "loss"}
    expected = 1 - figures["cosine"] + 0.1 * figures["repair"] + figures["acoustic"]
    assert figures["loss"] == pytest.approx(expected, rel=1e-4)
    assert float(evaluate(variables, batch | {"weight": np.float32([1, 0])})["weight"]) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"freeze": "encoder,voice"}, "no part 'voice': choose of repair, encoder, acoustic"),
        ({"freeze": ",".join(PARTS)}, "nothing is left to train"),
        ({"freeze": ""}, "learns from nothing: give acoustic_weight"),
        ({"repair_weight": -1.0}, "must not be negative"),
    ],
)
def test_settings_that_cannot_work(start, wrong, message):
    with pytest.raises(ConfigError, match=message):
        make_task(start, **wrong).init(jax.random.key(0))
