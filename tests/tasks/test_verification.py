"""The verification task: it learns, ignores padding and filler, and plays voices at other speeds as
other speakers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from lin_jax import losses, metrics
from lin_jax.audio import frontend
from lin_jax.audio.augment import AugmentConfig
from lin_jax.errors import ConfigError
from lin_jax.tasks.verification import Verification, VerificationConfig, _lengthen
from lin_jax.training.state import create_state
from lin_jax.training.step import make_train_step
from lin_jax.vectors import unit_norm

KEY = jax.random.key(0)
FRONTEND = frontend.FrontendConfig(n_mels=8, n_mfcc=8, n_fft=256, win_length=256, hop_length=128)
S = 3


class Pooled(nn.Module):
    """A hidden layer on the mean of the valid frames."""

    embedding: int = 4

    @nn.compact
    def __call__(self, features, num_frames, *, train=False):
        valid = jnp.arange(features.shape[1]) < num_frames[:, None]
        x = jnp.sum(features * valid[..., None], axis=1) / num_frames[:, None]
        return unit_norm(nn.Dense(self.embedding)(nn.relu(nn.Dense(32)(x))))


def make_task(augment=None, **options):
    """The task under test, with normalisation that does something."""
    mean, std = np.full(8, -40.0, np.float32), np.full(8, 15.0, np.float32)
    return Verification(
        Pooled(), S, FRONTEND, mean, std, VerificationConfig(**options), augment or AugmentConfig()
    )


def make_waveforms(B=9, N=4000):
    """Tones of three pitches and several lengths, as a batch of waveforms of three speakers."""
    rng = np.random.default_rng(0)
    length = rng.integers(N // 2, N + 1, B).astype(np.int32)
    label = (np.arange(B) % S).astype(np.int32)
    tone = np.sin(
        2 * np.pi * 300.0 * 3.0 ** label[:, None] * np.arange(N) / 16000 + rng.uniform(0, 6, (B, 1))
    )
    waveform = np.where(np.arange(N) < length[:, None], 0.3 * tone, 0.0).astype(np.float32)
    return {
        "waveform": waveform,
        "length": length,
        "label": label,
        "weight": np.ones(B, np.float32),
    }


def make_features(batch):
    """The same batch with its features made beforehand."""
    features, num_frames = frontend.extract(FRONTEND, batch["waveform"], batch["length"])
    return {
        "features": features,
        "num_frames": num_frames,
        "label": batch["label"],
        "weight": batch["weight"],
    }


def pad(batch, frames, examples):
    """The batch with more padding, and with filler of weight zero."""
    batch = dict(batch, features=np.pad(batch["features"], ((0, 0), (0, frames), (0, 0))))
    return {
        name: np.concatenate([v, v[:examples] * (name != "weight")]) for name, v in batch.items()
    }


@pytest.mark.parametrize(
    "options",
    [
        {"speeds": (0.9, 1.0, 1.1), "triplet_weight": 0.5},
        {"loss": "triplet", "mining": "semi-hard"},
        {
            "loss": "ge2e",
            "scale": 10.0,
            "augment": AugmentConfig(freq_masks=1, freq_mask_width=2, gain_db=3.0),
        },
    ],
    ids=["aam", "triplet", "ge2e"],
)
def test_overfits_one_batch(options):
    """Every loss brings the speakers of one batch apart, from waveforms."""
    task, batch, optimizer = make_task(**options), make_waveforms(), optax.adam(0.02)
    step = jax.jit(make_train_step(task, optimizer))
    state = jax.jit(functools.partial(create_state, task, optimizer))(KEY)
    first = None
    for _ in range(60):
        state, sums = step(state, batch, KEY)
        first = first or task.summarise(sums)
    figures = task.summarise(sums)
    assert figures["loss"] < 0.3 * first["loss"]
    figures = task.summarise(jax.jit(task.evaluate)(state.variables, batch))
    assert figures["eer"] == 0
    assert figures["triplet_loss"] < 0.01
    assert "loss" not in figures


def test_padding_and_filler_change_nothing():
    """Neither frames past the end nor examples of weight zero reach an embedding, a loss or a
    figure.
    """
    task, batch = make_task(loss="ge2e", triplet_weight=1.0), make_features(make_waveforms())
    variables, predict, loss, evaluate = (
        task.init(KEY),
        *map(jax.jit, (task.predict, task.loss, task.evaluate)),
    )
    expected = predict(variables, batch)["embedding"]
    np.testing.assert_allclose(np.linalg.norm(expected, axis=-1), 1.0, rtol=1e-5)
    padded = pad(batch, 7, examples=4)
    np.testing.assert_allclose(predict(variables, padded)["embedding"][:9], expected, atol=1e-5)
    of = [loss(variables["params"], {}, data, KEY) for data in (batch, padded)]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), of[0][0], of[1][0]
    )
    sums = [evaluate(variables, data) for data in (batch, padded)]
    np.testing.assert_allclose(sums[0]["anchors"], sums[1]["anchors"])
    np.testing.assert_allclose(sums[0]["scores"].sum(1), sums[1]["scores"].sum(1))
    np.testing.assert_allclose(sums[0]["scores"].sum(1), [27, 9])  # pairs of 3 × 3 clips


def test_waveforms_are_heard_as_their_features_are():
    task, batch = make_task(), make_waveforms()
    variables = task.init(KEY)
    of_features = task.predict(variables, make_features(batch))["embedding"]
    np.testing.assert_allclose(task.predict(variables, batch)["embedding"], of_features, atol=1e-4)


def test_loss_by_hand():
    """The margin loss over the centres of the head, and the weighted triplet loss."""
    task, batch = (
        make_task(margin=0.3, scale=7.0, triplet_weight=2.0),
        make_features(make_waveforms()),
    )
    variables = task.init(KEY)
    x = task.predict(variables, batch)["embedding"]
    centres = variables["params"]["head"]["centres"]
    expected = losses.angular_margin(x, centres, batch["label"], margin=0.3, scale=7.0)[0].mean()
    expected += 2.0 * losses.triplet_margin(x, batch["label"])[0].mean()
    np.testing.assert_allclose(
        task.loss(variables["params"], {}, batch, KEY)[0], expected, rtol=1e-5
    )


def test_equal_error_rate_is_that_of_the_pairs():
    """The counted cosines give what the pairs themselves give, to the width of a bin."""
    task, batch = make_task(), make_features(make_waveforms(B=30))
    batch["label"] = np.arange(30, dtype=np.int32) % 2
    variables = task.init(KEY)
    x = np.asarray(task.predict(variables, batch)["embedding"])
    left, right = np.triu_indices(30, 1)
    expected, _ = metrics.equal_error_rate(
        (x @ x.T)[left, right], batch["label"][left] == batch["label"][right]
    )
    assert task.summarise(task.evaluate(variables, batch))["eer"] == pytest.approx(
        expected, abs=0.02
    )


@pytest.mark.parametrize("kind", ["waveform", "features"])
def test_speeds_are_speakers_of_their_own(kind):
    """All clips of a speaker share the speed that is drawn.

    At speed 1 nothing changes; lengths tell the speed.
    """
    task = make_task(speeds=(0.8, 1.0, 1.25))
    batch = make_waveforms() if kind == "waveform" else make_features(make_waveforms())
    length = "length" if kind == "waveform" else "num_frames"
    seen = set()
    for seed in range(8):
        changed, label = task._change_speed(jax.random.key(seed), batch)
        drawn = np.asarray(label) // S
        np.testing.assert_array_equal(label % S, batch["label"])
        assert all(len(set(drawn[batch["label"] == s])) == 1 for s in range(S))
        seen |= set(drawn.tolist())
        expected = np.minimum(
            np.ceil(batch[length] / np.array([0.8, 1, 1.25])[drawn]), batch[kind].shape[1]
        )
        np.testing.assert_allclose(changed[length], expected, atol=1)
        still = np.flatnonzero(drawn == 1)
        np.testing.assert_allclose(
            changed[kind][still, :12], batch[kind][still, :12], atol=1e-4
        )  # frames of all
    assert seen == {0, 1, 2}
    assert task.init(KEY)["params"]["head"]["centres"].shape == (3 * S, 4)


@pytest.mark.parametrize("kind", ["waveform", "features"])
def test_clips_are_heard_at_every_speed(kind):
    """Scores are the mean over the speeds.

    Padding changes nothing, not even where a clip gets longer.
    """
    task = make_task(speeds=(0.8, 1.0, 1.25))
    batch = make_waveforms() if kind == "waveform" else make_features(make_waveforms())
    variables = task.init(KEY)
    predict = jax.jit(task.predict)
    embeddings = np.asarray(predict(variables, batch)["embedding"])
    assert embeddings.shape[1] == task.embedding_size == 3 * task.model.embedding
    single = jax.jit(make_task().predict)
    played = [task._play(_lengthen(batch, 1.25), speed) for speed in task.config.speeds]
    parts = [np.asarray(single(variables, clips)["embedding"]) for clips in played]
    expected = sum(part @ part.T for part in parts) / 3
    np.testing.assert_allclose(embeddings @ embeddings.T, expected, atol=1e-3)
    padded = _lengthen(batch, 1.5)
    np.testing.assert_allclose(predict(variables, padded)["embedding"], embeddings, atol=1e-3)


@pytest.mark.parametrize(
    "change", [{"loss": "softmax"}, {"mining": "soft"}, {"speeds": ()}, {"speeds": (0.0,)}]
)
def test_config_that_cannot_work(change):
    with pytest.raises(ConfigError, match=r"choose|give"):
        make_task(**change).init(KEY)
