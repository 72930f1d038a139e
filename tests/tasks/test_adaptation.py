"""An acoustic model fitted to recordings: they become likelier, by its flow alone, in few numbers."""

import threading

import jax
import numpy as np
import pytest

from lin_jax import cancellation
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import WorkCancelledError
from lin_jax.models.acoustic import AcousticModel
from lin_jax.tasks.acoustic import AcousticSynthesis
from lin_jax.tasks.adaptation import PART, RANK, WINDOW, Adaptation, adapted

M, E, V = 8, 6, 5
NETWORK = AcousticModel(M, V, 8, 8, 4, 16, 12, (1, 2), content_width=16, content_dilations=(1, 2))
TASK = AcousticSynthesis(NETWORK, FrontendConfig(n_mels=M, n_mfcc=M), np.zeros(M), np.ones(M), E)
VOICE = np.eye(1, E, dtype=np.float32)[0]


@pytest.fixture(scope="module")
def variables():
    return jax.jit(TASK.init)(jax.random.key(0))


def recording(frames, seed=0):
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(size=(-(-frames // 5), M)), 5, axis=0)[:frames].astype(np.float32)


def melody(frames):
    """Of every other ten frames."""
    return np.where(np.arange(frames) // 10 % 2, 0.5, np.nan).astype(np.float32)


def test_recordings_become_likelier(variables):
    adaptation = Adaptation(TASK, steps=40, learning_rate=1e-2)
    recordings, pitches = [recording(200), recording(90, 1)], [melody(200), melody(90)]
    changes = adaptation.fit(variables, recordings, pitches, VOICE)
    after = adapted(variables, changes)
    frames = np.zeros((1, WINDOW, M), np.float32)
    frames[0, :200] = recording(200)
    pitch = np.zeros((1, WINDOW), np.float32)
    pitch[0, :200] = melody(200)
    batch = frames, np.array([200]), pitch, VOICE[None]
    loss = jax.jit(lambda params, key: adaptation.loss(params, batch, key))
    before, fitted = (
        np.mean([loss(each["params"], jax.random.key(key)) for key in range(100, 108)])
        for each in (variables, after)
    )
    assert fitted < 0.8 * before
    for name, part in variables["params"].items():
        same = jax.tree.map(np.array_equal, part, after["params"][name])
        assert all(jax.tree.leaves(same)) == (name != PART)


def test_a_voice_is_small(variables):
    """Matrices change by products of rank `RANK`, in half precision; without steps nothing does."""
    changes = Adaptation(TASK, steps=2).fit(variables, [recording(100)], [melody(100)], VOICE)
    assert {array.dtype for array in changes.values()} == {np.dtype(np.float16)}
    lefts = [name for name in changes if name.endswith(":left")]
    assert lefts
    for name in lefts:
        assert changes[name].shape[1] == len(changes[name.replace(":left", ":right")]) == RANK
    given = variables, [recording(9)], [melody(9)], VOICE
    unchanged = adapted(variables, Adaptation(TASK, steps=0).fit(*given))
    assert jax.tree.all(jax.tree.map(np.array_equal, variables, unchanged))


def test_the_same_again_and_given_up(variables):
    adaptation = Adaptation(TASK, steps=2)
    steps = []
    first, second = (
        adaptation.fit(variables, [recording(700)], [melody(700)], VOICE, steps.append)
        for _ in range(2)
    )
    assert steps == [1] * 4
    assert all(np.array_equal(first[name], second[name]) for name in first)
    other = adaptation.fit(variables, [recording(700)], [melody(700) + 0.5], VOICE)
    assert any(not np.array_equal(first[name], other[name]) for name in first)
    event = threading.Event()
    event.set()
    with cancellation.given_up_by(event), pytest.raises(WorkCancelledError):
        adaptation.fit(variables, [recording(100)], [melody(100)], VOICE)
