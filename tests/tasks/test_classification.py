"""The classification task: it learns, ignores padding, and hears waveforms as it hears features."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from lin_jax.audio import augment, frontend
from lin_jax.audio.augment import AugmentConfig
from lin_jax.losses import cross_entropy
from lin_jax.tasks import classification
from lin_jax.tasks.classification import (
    Classification,
    ClassificationConfig,
    mixup,
)
from lin_jax.training.state import create_state
from lin_jax.training.step import make_train_step

KEY = jax.random.key(0)
FRONTEND = frontend.FrontendConfig(n_mels=8, n_mfcc=8, n_fft=256, win_length=256, hop_length=128)


class Pooled(nn.Module):
    """A hidden layer on the mean of the valid frames."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, features, num_frames, *, train):
        valid = jnp.arange(features.shape[1]) < num_frames[:, None]
        x = jnp.sum(features * valid[..., None], axis=1) / num_frames[:, None]
        return nn.Dense(self.num_classes)(nn.relu(nn.Dense(32)(x)))


def make_task(**options):
    """The task under test, with normalisation that does something."""
    mean, std = np.full(8, -40.0, np.float32), np.full(8, 15.0, np.float32)
    return Classification(Pooled(), ("low", "middle", "high"), FRONTEND, mean, std, **options)


def make_waveforms(B=9, N=4000):
    """Tones of three pitches and several lengths, as a batch of waveforms."""
    rng = np.random.default_rng(0)
    length = rng.integers(N // 2, N + 1, B).astype(np.int32)
    label = (np.arange(B) % 3).astype(np.int32)
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
    batch = {name: np.asarray(value) for name, value in batch.items()}
    batch["features"] = np.pad(batch["features"], ((0, 0), (0, frames), (0, 0)))
    return {
        name: np.concatenate([v, v[:examples] * (name != "weight")]) for name, v in batch.items()
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"config": ClassificationConfig(label_smoothing=0.1)},
        {"class_weights": np.array([0.5, 1.0, 2.0], np.float32)},
        {
            "augment": AugmentConfig(
                freq_masks=1, freq_mask_width=2, time_masks=1, time_mask_width=4, gain_db=3.0
            )
        },
    ],
    ids=["plain", "smoothed", "weighted", "augmented"],
)
def test_overfits_one_batch(options):
    """Every kind of training brings one batch to perfect accuracy, from waveforms."""
    task, batch, optimizer = make_task(**options), make_waveforms(), optax.adam(0.03)
    state = jax.jit(functools.partial(create_state, task, optimizer))(KEY)
    step, evaluate = jax.jit(make_train_step(task, optimizer)), jax.jit(task.evaluate)
    first = task.summarise(evaluate(state.variables, batch))
    for _ in range(30):
        state, _ = step(state, batch, KEY)
    last = task.summarise(evaluate(state.variables, batch))
    assert last["accuracy"] == last["uar"] == last["macro_f1"] == 1.0
    assert last["loss"] < first["loss"] / 2


def test_features_and_waveforms_are_heard_alike():
    """Features made beforehand and inside the step give the same outputs."""
    task, batch = make_task(), make_waveforms()
    variables = task.init(KEY)
    prediction = task.predict(variables, batch)
    read = task.predict(variables, make_features(batch))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), prediction, read
    )
    np.testing.assert_allclose(prediction["probabilities"].sum(-1), 1.0, rtol=1e-6)


def test_padding_and_filler_change_nothing():
    """More padding and filler leave loss, gradients and figures as they are."""
    task, batch = make_task(), make_features(make_waveforms())
    variables = task.init(KEY)
    gradient = jax.jit(jax.value_and_grad(task.loss, has_aux=True))
    expected, padded = (
        gradient(variables["params"], {}, b, KEY) for b in (batch, pad(batch, 7, examples=4))
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), expected, padded
    )
    sums = [task.evaluate(variables, b) for b in (batch, pad(batch, 7, examples=4))]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *sums)


def test_views_are_averaged():
    """Faster and higher with its mean, slower and lower without."""
    config = ClassificationConfig(
        tta=classification.TestTimeAugmentation(tempo=0.1, frequency=0.05, mean_removal=True)
    )
    task, batch = make_task(config=config), make_features(make_waveforms())
    variables = task.init(KEY)
    averaged = task.predict(variables, batch)["logits"]
    features, num_frames = task._features(batch)
    B, T, _ = features.shape
    alone = []
    for tempo, factor in ((1.1, 1.05), (0.9, 0.95)):
        view = augment.warp_frequency(
            features, np.full(B, factor), frontend.mel_centres(task.frontend)
        )
        view = np.pad(view, ((0, 0), (0, T), (0, 0)))
        view, frames = augment.change_tempo(view, num_frames, np.full(B, tempo))
        view = view if tempo > 1 else augment.remove_mean(view, frames)
        alone.append(task.model.apply(variables, view, frames, train=False))
    np.testing.assert_allclose(averaged, np.mean(alone, axis=0), rtol=1e-4, atol=1e-4)
    assert np.abs(averaged - make_task().predict(variables, batch)["logits"]).max() > 1e-3
    padded = task.predict(variables, pad(batch, 7, examples=0))["logits"]
    np.testing.assert_allclose(padded, averaged, rtol=1e-4, atol=1e-5)


def test_loss_by_hand():
    """The mean over the weights, of the loss the config describes.

    Evaluation uses neither option.
    """
    weights = np.array([0.5, 1.0, 2.0], np.float32)
    task = make_task(config=ClassificationConfig(label_smoothing=0.2), class_weights=weights)
    batch = make_features(make_waveforms())
    batch["weight"] = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0], np.float32)
    variables = task.init(KEY)
    logits = task.predict(variables, batch)["logits"][:6]
    expected = cross_entropy(
        logits, batch["label"][:6], label_smoothing=0.2, class_weights=weights
    ).mean()
    np.testing.assert_allclose(
        task.loss(variables["params"], {}, batch, KEY)[0], expected, rtol=1e-5
    )
    plain = cross_entropy(logits, batch["label"][:6]).mean()
    assert task.summarise(task.evaluate(variables, batch))["loss"] == pytest.approx(
        float(plain), rel=1e-5
    )


def test_mixup():
    """Each mixture lies between two clips, in the share its target tells, and is as long as the
    longer one.
    """
    B, T, D = 64, 5, 3
    num_frames = np.arange(B) % T + 1
    valid = np.arange(T) < num_frames[:, None]
    features = np.where(
        valid[..., None], np.arange(B, dtype=np.float32)[:, None, None], 0.0
    ) * np.ones(D)
    mixed, frames, targets = mixup(KEY, 0.4, features, num_frames, np.eye(B, dtype=np.float32))
    np.testing.assert_allclose(targets.sum(-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(mixed[..., 0], targets @ features[..., 0], rtol=1e-4, atol=1e-4)
    for i in range(B):
        assert frames[i] == num_frames[np.asarray(targets[i]) > 0].max()
    shares = np.diag(targets)
    assert len(np.unique(shares.round(4))) > B // 2, "each clip has a share of its own"
    assert shares.mean() == pytest.approx(0.5, abs=0.15)


def test_training_draws_from_the_key_alone():
    """One key gives one loss; another gives another; evaluation draws nothing."""
    task = make_task(
        config=ClassificationConfig(mixup_alpha=0.4), augment=AugmentConfig(gain_db=6.0)
    )
    params, batch = task.init(KEY)["params"], make_waveforms()
    loss = jax.jit(lambda key: task.loss(params, {}, batch, key)[0])
    assert loss(KEY) == loss(KEY) != loss(jax.random.key(1))


def test_task_is_replaceable_under_vmap():
    """Normalisation and class weights may differ between folds trained side by side."""
    batch = make_features(make_waveforms())
    variables = make_task().init(KEY)
    means = np.stack([np.full(8, -40.0), np.full(8, -20.0)]).astype(np.float32)
    evaluate = lambda mean: dataclasses.replace(make_task(), mean=mean).evaluate(variables, batch)  # noqa: E731
    together = jax.vmap(evaluate)(means)
    for i, mean in enumerate(means):
        np.testing.assert_allclose(together["loss"][i], evaluate(mean)["loss"], rtol=1e-5)
