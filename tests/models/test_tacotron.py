"""The synthesizer's laws: one decoder for training and use, padding and company that change
nothing.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lin_jax.models.attention import KINDS
from lin_jax.models.tacotron import DecoderCell, Tacotron

B, L, T, M, E = 3, 7, 12, 5, 6
LENGTH, NUM_FRAMES = np.array([7, 4, 6]), np.array([12, 5, 8])
NETWORK = Tacotron(
    num_mels=M,
    num_symbols=10,
    reduction=2,
    max_reduction=3,
    symbol_features=8,
    encoder_hidden=8,
    voice_features=3,
    decoder_hidden=12,
    prenet=(8,),
    postnet=(8,),
)
RNG = np.random.default_rng(0)
SYMBOLS = RNG.integers(2, 10, (B, L))
VOICE = RNG.normal(size=(B, E)).astype(np.float32)
FRAMES = RNG.normal(size=(B, T, M)).astype(np.float32)


def draw(model, *inputs, **options):
    """Random variables that leave nothing at zero."""
    shapes = jax.eval_shape(functools.partial(model.init, **options), jax.random.key(0), *inputs)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.normal(scale=0.5, size=leaf.shape).astype(np.float32), shapes
    )


@pytest.fixture(scope="module", params=KINDS)
def network(request):
    """The network, its variables, and both ways to run it, compiled."""
    model = NETWORK.clone(attention=request.param)
    variables = draw(model, SYMBOLS, LENGTH, VOICE, FRAMES, NUM_FRAMES, train=False)
    teach = jax.jit(functools.partial(model.apply, train=False))
    speak = jax.jit(functools.partial(model.apply, method="generate", max_frames=T))
    return model, variables, teach, speak


def assert_close(actual, expected, rows=slice(None), atol=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[rows], b[rows], atol=atol), actual, expected
    )


def test_attention_sums_to_one_and_gives_padding_nothing(network):
    _, variables, teach, speak = network
    taught = teach(variables, SYMBOLS, LENGTH, VOICE, FRAMES, NUM_FRAMES)
    generated = speak(variables, SYMBOLS, LENGTH, VOICE)
    for decoded in (taught, generated):
        steps = np.arange(T // 2) < -(-np.asarray(decoded.num_frames)[:, None] // 2)
        np.testing.assert_allclose(decoded.attention.sum(-1), steps, atol=1e-5)
        assert not decoded.attention[
            np.broadcast_to(np.arange(L) >= LENGTH[:, None, None], (B, T // 2, L))
        ].any()
        assert not decoded.mel[np.arange(T) >= np.asarray(decoded.num_frames)[:, None]].any()
    assert np.ptp(taught.attention[0, -1]) > 0.01


def test_padding_and_company_change_nothing(network):
    """Rubbish in the padding, another order, or other clips beside it.

    Each clip comes out as before.
    """
    _, variables, teach, speak = network
    expected = teach(variables, SYMBOLS, LENGTH, VOICE, FRAMES, NUM_FRAMES)
    alone = speak(variables, SYMBOLS, LENGTH, VOICE)
    rubbish = np.where(np.arange(L) < LENGTH[:, None], SYMBOLS, 9)
    noise = np.where((np.arange(T) < NUM_FRAMES[:, None])[..., None], FRAMES, 99.0)
    assert_close(teach(variables, rubbish, LENGTH, VOICE, noise, NUM_FRAMES), expected)
    assert_close(speak(variables, rubbish, LENGTH, VOICE), alone)
    order = [2, 0, 1]
    moved = teach(
        variables, SYMBOLS[order], LENGTH[order], VOICE[order], FRAMES[order], NUM_FRAMES[order]
    )
    assert_close(moved, jax.tree.map(lambda leaf: leaf[np.array(order)], expected))
    others, voices = np.full_like(SYMBOLS, 3), -VOICE
    others[1], voices[1] = SYMBOLS[1], VOICE[1]
    beside = speak(variables, others, np.array([1, 4, 7]), voices)
    assert_close(beside, alone, slice(1, 2))
    assert np.abs(np.asarray(beside.mel - alone.mel)[0]).max() > 1e-3
    voiced = teach(variables, SYMBOLS, LENGTH, voices, FRAMES, NUM_FRAMES)
    assert np.abs(np.asarray(voiced.mel - expected.mel)[0]).max() > 1e-3


def test_training_and_generation_are_one_decoder(network):
    """Told the frames that it made itself, the scan makes what the loop made.

    And so does the cell, step by step.
    """
    model, variables, teach, speak = network
    never = jax.tree.map(np.copy, variables)
    never["params"]["stop_projection"]["bias"][:] = -99.0
    generated = speak(never, SYMBOLS, LENGTH, VOICE)
    assert generated.num_frames.tolist() == [T] * B
    assert not generated.stopped.any()
    taught = teach(never, SYMBOLS, LENGTH, VOICE, generated.coarse, generated.num_frames)
    assert_close(generated.replace(stopped=taught.stopped), taught, atol=1e-4)

    cell = DecoderCell(model.decoder_hidden, model.attention)
    parameters = {"params": variables["params"]["cell"]}
    memory, mask = model.apply(variables, SYMBOLS, LENGTH, VOICE, method="encode")
    state, keys = cell.apply(parameters, memory, method="start")
    step = jax.jit(cell.apply)
    dense = variables["params"]["prenet_layers_0"]
    for number in range(T // 2):
        last = generated.coarse[:, 2 * number - 1] if number else np.zeros((B, M))
        x = np.maximum(last @ dense["kernel"] + dense["bias"], 0.0)
        state, (_, weights) = step(parameters, state, x, memory, keys, mask)
        np.testing.assert_allclose(weights, generated.attention[:, number], atol=1e-4)


def test_generation_stops_by_itself(network):
    _, variables, _, speak = network
    at_once = jax.tree.map(np.copy, variables)
    at_once["params"]["stop_projection"]["bias"][:] = 99.0
    generated = speak(at_once, SYMBOLS, LENGTH, VOICE)
    assert generated.num_frames.tolist() == [2] * B
    assert generated.stopped.all()


def test_any_reduction_has_the_same_parameters():
    """So that training can go from many frames a step to few."""
    shapes = [
        jax.eval_shape(
            functools.partial(NETWORK.clone(reduction=r).init_with_output, train=False),
            *(jax.random.key(0), SYMBOLS, LENGTH, VOICE, FRAMES[:, :11], NUM_FRAMES),
        )
        for r in (1, 2, 3)
    ]
    assert [decoded.mel.shape[1] for decoded, _ in shapes] == [11, 12, 12]
    assert [decoded.stop.shape[1] for decoded, _ in shapes] == [11, 6, 4]
    assert shapes[0][1] == shapes[1][1] == shapes[2][1]


@pytest.mark.parametrize("attention", KINDS)
def test_half_precision(attention):
    """The recurrences keep their types, and what comes out is float32."""
    model = NETWORK.clone(attention=attention, dtype="bfloat16", unroll=2)
    variables = draw(model, SYMBOLS, LENGTH, VOICE, FRAMES, NUM_FRAMES, train=False)
    run = functools.partial(model.apply, method="generate", max_frames=T)
    taught = jax.eval_shape(
        functools.partial(model.apply, train=False),
        variables,
        SYMBOLS,
        LENGTH,
        VOICE,
        FRAMES,
        NUM_FRAMES,
    )
    for decoded in (taught, jax.eval_shape(run, variables, SYMBOLS, LENGTH, VOICE)):
        assert {
            leaf.dtype.name
            for leaf in (decoded.mel, decoded.coarse, decoded.stop, decoded.attention)
        } == {"float32"}


def test_recordings_as_sources_and_voices_of_a_table():
    """A recording is shortened to a quarter; padding does not reach the memory."""
    model = NETWORK.clone(num_voices=4)
    length, voice = np.array([9, 4]), np.array([3, 0])
    speech = RNG.normal(size=(2, 11, 3)).astype(np.float32)
    variables = draw(model, speech, length, voice, method="encode")
    assert "text_encoder" not in variables["params"]
    encode = jax.jit(functools.partial(model.apply, method="encode"))
    memory, mask = encode(variables, speech, length, voice)
    assert mask.sum(axis=1).tolist() == [3, 1]
    other = np.where((np.arange(11) < length[:, None])[..., None], speech, 9.0)
    np.testing.assert_allclose(encode(variables, other, length, voice)[0], memory, atol=1e-6)
    assert jnp.abs(encode(variables, speech, length, voice[::-1])[0] - memory).max() > 1e-3


def test_voice_vectors_count_in_direction_alone():
    variables = draw(NETWORK, SYMBOLS, LENGTH, VOICE, method="encode")
    encode = jax.jit(functools.partial(NETWORK.apply, method="encode"))
    memory, _ = encode(variables, SYMBOLS, LENGTH, VOICE)
    np.testing.assert_allclose(
        encode(variables, SYMBOLS, LENGTH, 100 * VOICE)[0], memory, atol=1e-5
    )
