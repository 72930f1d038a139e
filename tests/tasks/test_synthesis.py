"""The synthesis task: it overfits, stops where the target ends, and filler and padding change
nothing.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lin_jax.audio import ltas
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.models.tacotron import Tacotron
from lin_jax.tasks.synthesis import Synthesis, SynthesisConfig, move_to_anchors
from lin_jax.training.state import create_state
from lin_jax.training.step import make_train_step

KEY = jax.random.key(0)
M, T, L = 4, 20, 6
FRONTEND = FrontendConfig(n_mels=M, n_mfcc=M)
MEAN, STD = np.full(M, -40.0, np.float32), np.full(M, 10.0, np.float32)
NETWORK = Tacotron(
    num_mels=M,
    num_symbols=8,
    num_voices=2,
    reduction=2,
    max_reduction=2,
    symbol_features=12,
    encoder_hidden=16,
    voice_features=4,
    decoder_hidden=32,
    prenet=(16,),
    postnet=(8,),
    dropout=0.0,
)
CONFIG = SynthesisConfig(source_mfcc=3, max_seconds=0.4)


def make_task(**options):
    config = {
        "prenet_dropout": (0.0, 0.0),
        "guided_weight": (1.0, 1.0),
        "max_seconds": 0.4,
        "source_mfcc": M,
    }
    return Synthesis(NETWORK, FRONTEND, MEAN, STD, config=SynthesisConfig(**config | options))


def make_batch():
    """Symbols of one spectrum each, some of them longer than others."""
    rng = np.random.default_rng(0)
    symbols = np.array([[2, 3, 4, 5, 6, 1], [6, 4, 2, 1, 0, 0]], np.int32)
    ltas = rng.normal(size=(8, M))
    spoken = [
        np.repeat(ltas[row[row > 0]], [3, 4, 3, 4, 4, 2][: (row > 0).sum()], axis=0)
        for row in symbols
    ]
    features = np.zeros((2, T, M), np.float32)
    for row, frames in zip(features, spoken, strict=True):
        row[: len(frames)] = MEAN + STD * frames
    return {
        "features": features,
        "num_frames": np.array([len(frames) for frames in spoken], np.int32),
        "symbols": symbols,
        "num_symbols": np.array([6, 4], np.int32),
        "voice": np.array([0, 1], np.int32),
        "weight": np.ones(2, np.float32),
    }


def test_overfits_one_batch():
    """Speech made without help is as long as the target, to a step, and sounds like it."""
    task, batch, optimizer = (
        make_task(),
        make_batch(),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)),
    )
    state = jax.jit(functools.partial(create_state, task, optimizer))(KEY)
    step = jax.jit(make_train_step(task, optimizer))
    first = None
    for _ in range(250):
        state, sums = step(state, batch, KEY)
        first = first or task.summarise(sums)
    figures = task.summarise(sums)
    assert figures["loss"] < 0.15 * first["loss"]
    assert state.variables["schedule"]["step"] == 250
    spoken = jax.jit(task.predict)(state.variables, batch)
    assert spoken["stopped"].all()
    assert (np.abs(spoken["num_frames"] - batch["num_frames"]) <= NETWORK.reduction).all()
    error = np.abs(np.asarray(spoken["features"])[0, :18] - batch["features"][0, :18]).mean()
    assert error < 0.3 * STD[0]


def test_padding_and_filler_change_nothing():
    """Rubbish in the padding and in a clip of weight zero, against zeros there."""
    task, batch = make_task(), make_batch()
    variables = jax.jit(task.init)(KEY)
    evaluate = jax.jit(task.evaluate)
    clean = {name: np.concatenate([value, value[:1]]) for name, value in batch.items()}
    clean["weight"][2] = 0.0
    spoilt = jax.tree.map(np.copy, clean)
    spoilt["features"][np.arange(T) >= clean["num_frames"][:, None]] = 7.0
    spoilt["symbols"][np.arange(L) >= clean["num_symbols"][:, None]] = 7
    spoilt["features"][2], spoilt["symbols"][2], spoilt["voice"][2] = -3.0, 3, 1
    expected, actual = (task.summarise(evaluate(variables, data)) for data in (clean, spoilt))
    assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert {"mel", "stop_failures", "length_error", "diagonal_rate", "skipped"} <= set(expected)


def test_schedules():
    """What the loss weighs moves with the steps that were trained, and then stays."""
    task, batch = make_task(guided_weight=(3.0, 1.0), schedule_steps=10), make_batch()
    variables = jax.jit(task.init)(KEY)

    @jax.jit
    def weight_at(step):
        _, (state, sums) = task.loss(variables["params"], {"schedule": {"step": step}}, batch, KEY)
        rest = sums["coarse"] + sums["mel"] + sums["stop"]
        return (sums["loss"] - rest) / sums["guided"], state["schedule"]["step"]

    weights = [weight_at(step)[0] for step in (0.0, 5.0, 10.0, 99.0)]
    np.testing.assert_allclose(weights, [3.0, 2.0, 1.0, 1.0], rtol=1e-3)
    assert weight_at(5.0)[1] == 6


def test_a_voice_has_its_timbre():
    """Given the spectrum of a voice, and what lacks of it, what is said has them.

    Padding stays empty.
    """
    task, batch = make_task(), make_batch()
    variables = jax.jit(task.init)(KEY)
    plain, wanted = (
        jax.jit(task.predict)(variables, batch),
        np.tile(MEAN + 6.0, (2, 1)).astype(np.float32),
    )
    ltas_correction = np.array([[1.0, -2.0, 3.0, 99.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    spoken = jax.jit(task.predict)(
        variables, batch | {"ltas": wanted, "ltas_correction": ltas_correction}
    )
    coloured = plain["features"] + ltas_correction.clip(max=20.0)[:, None]
    expected = ltas.match_spectrum(coloured, plain["num_frames"], wanted)
    padding = np.arange(expected.shape[1]) >= spoken["num_frames"][:, None]
    np.testing.assert_allclose(
        spoken["features"], np.where(padding[..., None], 0.0, expected), atol=1e-3
    )
    assert not np.allclose(spoken["features"], plain["features"], atol=0.1)


def test_clarified_goes_to_the_nearest_clear_voice():
    """As far as asked, in the plane of both, whatever the lengths.

    Who is near stays, and of none nothing is moved.
    """
    clear = np.array([[3.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
    voices = np.array([[0.0, 7.0, 0.0], [0.6, 0.0, 0.8], [-9.0, -3.0, 0.0], [0.0, 2.7, 3.6 / 4]])
    moved = move_to_anchors(voices, clear, 0.8)
    near = voices[3] / np.linalg.norm(voices[3])
    np.testing.assert_allclose(moved, [[0, 1, 0], [0.8, 0, 0.6], [-0.6, 0.8, 0], near], atol=1e-6)
    np.testing.assert_allclose(move_to_anchors(voices, clear, 0.5)[1], [0.6, 0, 0.8], atol=1e-6)
    np.testing.assert_allclose(
        move_to_anchors(voices, clear[:0], 0.8)[1], [0.6, 0.0, 0.8], rtol=1e-6
    )


def test_clarified_goes_to_what_the_nearest_of_many_have_in_common():
    """A twenty-fifth of them; who is near to one of them stays all the same."""
    rng = np.random.default_rng(0)
    clear = rng.standard_normal((50, 6))
    clear /= np.linalg.norm(clear, axis=1, keepdims=True)
    voices = np.concatenate([rng.standard_normal((3, 6)), clear[7:8] + 0.01])
    results = move_to_anchors(voices, clear, 0.95)
    for voice, moved in zip(voices[:3], results, strict=False):
        two = clear[np.argsort(-(clear @ voice))[:2]].sum(axis=0)
        assert moved @ two / np.linalg.norm(two) == pytest.approx(0.95, abs=1e-5)
        assert np.linalg.matrix_rank(np.stack([voice, two, moved]), tol=1e-4) == 2
    np.testing.assert_allclose(results[3], voices[3] / np.linalg.norm(voices[3]), atol=1e-6)


def test_timbre_is_what_lacks_of_a_recording_said_again():
    """It is their difference in the mean spectrum; of texts alone a network does not know it."""
    task = Synthesis(
        NETWORK, FRONTEND, MEAN, STD, voice_size=3, sources=("text", "speech"), config=CONFIG
    )
    variables, batch = jax.jit(task.init)(KEY), make_batch()
    batch = {
        "source": batch["features"],
        "num_source_frames": batch["num_frames"],
        "voice": np.ones((2, 3), np.float32),
    }
    recording, timbre = (
        jax.jit(task.predict)(variables, batch),
        jax.jit(task.ltas_correction)(variables, batch),
    )
    spectrum, _ = ltas.long_term_spectrum(batch["source"], batch["num_source_frames"])
    np.testing.assert_allclose(timbre["ltas"], spectrum, rtol=1e-5)
    spoken, _ = ltas.long_term_spectrum(recording["features"], recording["num_frames"])
    np.testing.assert_allclose(timbre["ltas_correction"], spectrum - spoken, atol=1e-3)
    assert (
        not dataclasses.replace(task, sources=("text",))
        .ltas_correction(variables, batch)["ltas_correction"]
        .any()
    )


def test_two_sources_share_the_decoder():
    """A recording's loudness and spectrum do not reach the network.

    Its shapes are those of a text's.
    """
    task = Synthesis(
        NETWORK, FRONTEND, MEAN, STD, voice_size=3, sources=("text", "speech"), config=CONFIG
    )
    shapes = jax.eval_shape(task.init, KEY)["params"]
    assert {"text_encoder", "speech_encoder", "cell"} <= set(shapes)
    batch = {**make_batch(), "voice": np.zeros((2, 3), np.float32)}
    batch |= {"source": batch["features"], "num_source_frames": batch["num_frames"]}
    del batch["symbols"], batch["num_symbols"]
    source, length = task._source(batch)
    np.testing.assert_array_equal(length, batch["num_frames"])
    ltas_correction = np.array([3.0, -8.0, 0.0, 11.0], np.float32)
    valid = (np.arange(T) < length[:, None])[..., None]
    other, _ = task._source(
        {**batch, "source": np.where(valid, batch["source"] + ltas_correction, 5.0)}
    )
    np.testing.assert_allclose(other, source, atol=1e-4)
    assert not source[~np.broadcast_to(valid, source.shape)].any()
    spoken = jax.eval_shape(task.predict, {"params": shapes}, batch)
    assert spoken["skipped"].shape == spoken["repeated"].shape == (2,)
    sums = jax.eval_shape(task.evaluate, {"params": shapes}, batch)
    assert {"mel", "weight", "speech_mel", "speech_weight", "speech_stop_failures"} <= set(sums)
    only = {name: float(name.startswith("speech_")) for name in sums}
    assert set(task.summarise(only)) == {name for name in sums if name.startswith("speech_")} - {
        "speech_weight"
    }


def test_a_recording_is_varied_in_training_alone():
    """Training hears it at another pitch and pace each time; judgement hears it as it is."""
    task = Synthesis(
        NETWORK, FRONTEND, MEAN, STD, sources=("speech",), config=SynthesisConfig(source_mfcc=3)
    )
    batch = {name: value for name, value in make_batch().items() if "symbols" not in name}
    batch |= {"source": batch["features"], "num_source_frames": batch["num_frames"]}
    varied = [task._varied(jax.random.key(seed), batch) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(varied[0]["source"], varied[1]["source"])
    assert np.abs(varied[0]["source"] - varied[2]["source"]).mean() > 0.1
    assert (np.abs(varied[0]["num_source_frames"] / batch["num_frames"] - 1) < 0.2).all()
    params = jax.eval_shape(task.init, KEY)["params"]
    loss, _ = jax.eval_shape(task.loss, params, {"schedule": {"step": jnp.zeros(())}}, batch, KEY)
    assert loss.shape == ()


def test_settings_that_cannot_work():
    with pytest.raises(ConfigError, match="give shares"):
        make_task(prenet_dropout=(1.0, 0.0)).init(KEY)
    with pytest.raises(ConfigError, match="log_mel features without deltas"):
        Synthesis(NETWORK, FrontendConfig(feature="mfcc"), jnp.zeros(20), jnp.ones(20)).init(KEY)
