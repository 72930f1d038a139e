"""The acoustic task: a tiny batch is learnt by heart, and padding changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.spoken_batch import E, M, V, make_batch

from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.models.acoustic import PROSODY, AcousticModel, hold, intonation_of
from lin_jax.tasks.acoustic import AcousticConfig, AcousticSynthesis, prosody_of, sharpened

FRONTEND = FrontendConfig(n_mels=M, n_mfcc=M)
NETWORK = AcousticModel(M, V, 8, 8, 4, 16, 12, (1, 2), dropout=0.0, content_dilations=())
LISTENING = NETWORK.clone(content_width=16, content_dilations=(1, 2))


def make_task(network=NETWORK, **config):
    config = AcousticConfig(**config)
    return AcousticSynthesis(network, FRONTEND, np.zeros(M), np.ones(M), E, config)


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
    inputs = batch["symbols"], batch["num_symbols"], batch["voice"]
    durations, encoded, voice = NETWORK.apply(
        {"params": params}, *inputs, method="predict_durations"
    )
    np.testing.assert_allclose(durations, batch["durations"], atol=1)
    plain, _ = NETWORK.apply({"params": params}, *inputs, method="encode")
    given = plain, batch["num_symbols"], voice
    planned = NETWORK.apply({"params": params}, *given, method="plan")
    prosody = prosody_of(batch, batch["features"])
    voiced = (batch["voicing"] > 0)[..., None] | (np.arange(PROSODY) != 1)
    real = voiced & (np.arange(4) < batch["num_symbols"][:, None])[..., None]
    np.testing.assert_allclose(planned[real], prosody[real], atol=0.3)
    assert np.abs(encoded - plain).max() > 0.01, "what is planned is given to the frames"
    noise = np.zeros_like(batch["features"])
    frames, count = NETWORK.apply(
        {"params": params}, encoded, voice, batch["durations"], noise, method="generate"
    )
    np.testing.assert_array_equal(count, batch["num_frames"])
    assert np.mean((frames - batch["features"]) ** 2) < 0.5 * np.mean(batch["features"] ** 2)


def test_prosody_of_symbols():
    """How long, at what pitch, how much of it voiced, and the level of the frames."""
    batch = make_batch(3, 2)
    prosody = prosody_of(batch, jnp.asarray(batch["features"]))
    assert prosody.shape == (2, 6, PROSODY)
    level = batch["features"][1, 2:7].mean()
    np.testing.assert_allclose(prosody[1, 1], [np.log(5), -0.4, 0.25, level], rtol=1e-5)
    assert not prosody[0, 3:].any(), "padding"
    known = intonation_of(prosody)
    np.testing.assert_allclose(known[0, :4, 0], [0, 1.0, 0.5, 0])
    np.testing.assert_allclose(known[1, :4, 0], [0.2, -0.4, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(known[..., 1:], prosody[..., 2:])


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
        inputs = batch["symbols"], batch["num_symbols"], batch["voice"]
        durations, encoded, voice = NETWORK.apply(variables, *inputs, method="predict_durations")
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


def test_recordings_are_understood_as_their_text_is():
    """The encoder of recordings comes to give the text encoder's features, which do not move."""
    task, batch = make_task(LISTENING), make_batch()
    params = task.init(jax.random.key(0))["params"]
    frames = jnp.asarray(batch["features"])

    def loss(params, key):
        return task._content({"params": params}, batch, frames, key, train=True).mean()

    optimiser = optax.adam(1e-2)

    @jax.jit
    def step(params, state, key):
        value, gradient = jax.value_and_grad(loss)(params, key)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    learnt, state, losses = params, optimiser.init(params), []
    for number in range(200):
        learnt, state, value = step(learnt, state, jax.random.key(number))
        losses.append(float(value))
    assert np.mean(losses[-20:]) < 0.4 * losses[0]
    changed = {
        name
        for name in params
        if not jax.tree.all(jax.tree.map(np.array_equal, params[name], learnt[name]))
    }
    assert changed == {"content"}
    features, timing, logits = LISTENING.apply(
        {"params": learnt}, frames, batch["num_frames"], method="recognise"
    )
    assert features.shape == (2, 12, 8)
    assert timing.shape == (2, 12, 2)
    symbols, *_ = hold(batch["symbols"][..., None], batch["durations"], 12)
    real = np.arange(12) < batch["num_frames"][:, None]
    assert (logits.argmax(axis=-1) == symbols[..., 0])[real].mean() > 0.9


def moving(task):
    """Variables of a network whose velocity is not zero, as it is before training."""
    variables = jax.tree.map(np.array, task.init(jax.random.key(0)))
    last = variables["params"]["flow"]["Dense_11"]
    last["kernel"] = np.random.default_rng(0).normal(size=last["kernel"].shape).astype(np.float32)
    return variables


def test_conversion_does_not_depend_on_padding_or_on_the_level():
    task = make_task(LISTENING, temperature=0.0)
    variables = moving(task)
    rng = np.random.default_rng(1)
    frames = rng.normal(size=(1, 9, M)).astype(np.float32)
    voice, count = np.eye(1, E, dtype=np.float32), np.array([9])
    pitch = np.where(np.arange(14) % 3 > 0, 1.0 + 0.1 * np.arange(14), np.nan)[None]
    short = task.convert(variables, frames, count, voice, pitch[:, :9])["features"]
    longer = np.concatenate([frames, rng.normal(size=(1, 5, M))], axis=1, dtype=np.float32)
    padded = task.convert(variables, longer, count, voice, pitch)["features"]
    np.testing.assert_allclose(padded[:, :9], short, atol=1e-4)
    assert not padded[:, 9:].any()
    louder = task.convert(variables, frames + 2.0, count, voice, pitch[:, :9])["features"]
    np.testing.assert_allclose(louder, short, atol=1e-4)
    lower = task.convert(variables, frames, count, voice, pitch[:, :9] - 1.0)["features"]
    np.testing.assert_allclose(lower, short, atol=1e-4, err_msg="an octave is the voice's own")


def test_conversion_keeps_the_melody():
    """Where the pitch of the recording rises differs what is said, and whether it is voiced does."""
    task = make_task(LISTENING, temperature=0.0)
    variables = moving(task)
    frames = np.random.default_rng(1).normal(size=(1, 12, M)).astype(np.float32)
    voice, count, rising = np.eye(1, E, dtype=np.float32), np.array([12]), np.linspace(0, 1, 12)

    def spoken(pitch):
        return task.convert(variables, frames, count, voice, pitch[None])["features"]

    plain = spoken(np.zeros(12))
    for other in (rising, np.full(12, np.nan)):
        assert not np.allclose(plain, spoken(other)), other
        assert np.isfinite(spoken(other)).all()


def test_what_is_converted_goes_by_its_text_as_well():
    """Another text says something else, and so does the same in other time."""
    task = make_task(LISTENING, temperature=0.0)
    variables = moving(task)
    frames = np.random.default_rng(1).normal(size=(1, 12, M)).astype(np.float32)
    voice, count, pitch = np.eye(1, E, dtype=np.float32), np.array([12]), np.zeros((1, 12))

    def spoken(symbols, durations):
        text = np.array([symbols]), np.array([len(symbols)]), np.array([durations])
        return task.convert(variables, frames, count, voice, pitch, text=text)["features"]

    plain = spoken([2, 3, 1], [5, 4, 3])
    for other in (spoken([2, 4, 1], [5, 4, 3]), spoken([2, 3, 1], [4, 5, 3])):
        assert np.isfinite(other).all()
        assert not np.allclose(plain, other)
    without = task.convert(variables, frames, count, voice, pitch)["features"]
    assert not np.allclose(plain, without)


def test_hold():
    encoded = np.array([[[1.0], [2.0], [9.0]]])
    held, timing, mask = hold(encoded, np.array([[2, 1, 0]]), 4)
    np.testing.assert_array_equal(held[0, :3, 0], [1, 1, 2])
    np.testing.assert_allclose(timing[0, :3, 0], [0.25, 0.75, 0.5])
    np.testing.assert_allclose(timing[0, :3, 1], np.log([2, 2, 1]))
    np.testing.assert_array_equal(mask[0], [True, True, True, False])


def test_sharpened_frames():
    """By hand: the mean of five bands, those at the edges repeated; what is even stays."""
    frames = np.zeros((1, 2, M), np.float32)
    frames[0, 0, 0], frames[0, 0, 4] = 5.0, 10.0
    raised = sharpened(frames, 0.5)
    np.testing.assert_allclose(raised[0, 0], [6.0, -1, -1.5, -1, 14, -1, -1, 0], atol=1e-6)
    assert not raised[0, 1].any()
    np.testing.assert_allclose(sharpened(frames, 0.0), frames)
    np.testing.assert_allclose(sharpened(np.full_like(frames, 3.0), 0.5), 3.0, atol=1e-6)


def test_what_is_drawn_is_sharpened():
    batch, noise = make_batch(), np.random.default_rng(0).normal(size=(2, 12, M))
    variables = moving(make_task(LISTENING))
    inputs = variables, batch["symbols"], batch["num_symbols"], batch["voice"]
    encoded, voice = LISTENING.apply(*inputs, method="encode")

    def drawn(sharpness):
        task = make_task(LISTENING, sharpness=sharpness)
        return task.from_noise(variables, encoded, voice, batch["durations"], noise)["features"]

    real = np.arange(12) < batch["num_frames"][:, None]
    expected = np.where(real[..., None], sharpened(drawn(0.0), 0.5), 0.0)
    np.testing.assert_allclose(drawn(0.5), expected, atol=1e-5)
