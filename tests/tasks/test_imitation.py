"""Imitation: the encoder of recordings alone learns, and what it hears is spoken again."""

import jax
import numpy as np
import optax
import pytest
from helpers.spoken_batch import E, M, V, make_batch

from lin_jax.audio.augment import AugmentConfig
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.models.acoustic import AcousticModel
from lin_jax.tasks.acoustic import AcousticSynthesis
from lin_jax.tasks.imitation import PART, Imitation, ImitationConfig

NETWORK = AcousticModel(M, V, 8, 8, 4, 16, 12, (1, 2), content_width=16, content_dilations=(1, 2))
ACOUSTIC = AcousticSynthesis(
    NETWORK, FrontendConfig(n_mels=M, n_mfcc=M), np.zeros(M), np.ones(M), E
)


@pytest.fixture(scope="module")
def start():
    """The parameters of a network whose prior says what it is given."""
    params = jax.jit(ACOUSTIC.init)(jax.random.key(0))["params"]
    return {**params, "prior": jax.tree.map(lambda x: 3 * x, params["prior"])}


@pytest.fixture
def batch():
    return make_batch()


def test_the_encoder_alone_learns_to_be_spoken_again(start, batch):
    task = Imitation(ACOUSTIC, start)
    variables = task.init(jax.random.key(0))
    assert list(variables["params"]) == [PART]
    params, rest = variables["params"], {"constant": variables["constant"]}
    optimiser = optax.adam(1e-2)
    evaluate = jax.jit(lambda params: task.evaluate({"params": params, **rest}, batch))
    before = task.summarise(evaluate(params))

    @jax.jit
    def step(params, state, key):
        gradient, (kept, _) = jax.grad(task.loss, has_aux=True)(params, rest, batch, key)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(params, updates), state, kept

    state = optimiser.init(params)
    for number in range(150):
        params, state, kept = step(params, state, jax.random.key(number))
    after = task.summarise(evaluate(params))
    assert after["prior"] < 0.9 * before["prior"]
    assert after["content"] < 0.7 * before["content"]
    assert after["loss"] == pytest.approx(
        after["velocity"] + after["prior"] + 0.3 * after["content"], rel=1e-5
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, kept, rest))
    network = task.network({"params": params, **rest})["params"]
    assert jax.tree.structure(network) == jax.tree.structure(start)


def test_padding_and_weight_change_nothing(start, batch):
    task = Imitation(ACOUSTIC, start)
    variables = task.init(jax.random.key(0))
    # The noise of the path is drawn for all frames, hence the parts that do not depend on it.
    short = jax.jit(task.evaluate)(variables, batch)
    longer = make_batch(extra_frames=5)
    longer["features"][:, 12:] = 60.0
    long = jax.jit(task.evaluate)(variables, longer)
    for name in ("prior", "content", "weight"):
        np.testing.assert_allclose(long[name], short[name], rtol=1e-4)
    alone = {**batch, "weight": np.array([1.0, 0.0], np.float32)}
    both = sum(
        jax.jit(task.evaluate)(variables, {**batch, "weight": weight})["loss"]
        for weight in (alone["weight"], 1 - alone["weight"])
    )
    np.testing.assert_allclose(both, short["loss"], rtol=1e-5)


def test_a_clip_needs_no_text(start, batch):
    """Without one it is spoken again just the same, and lacks nothing of the text."""
    task = Imitation(ACOUSTIC, start)
    variables = task.init(jax.random.key(0))
    textless = {key: np.array(value) for key, value in batch.items()}
    for name in ("symbols", "num_symbols", "durations", "pitch", "voicing"):
        textless[name][1] = 0
    whole, without = (jax.jit(task.evaluate)(variables, each) for each in (batch, textless))
    for name in ("velocity", "prior"):
        np.testing.assert_allclose(without[name], whole[name], rtol=1e-6)
    textless["weight"] = np.array([0, 1], np.float32)
    assert jax.jit(task.evaluate)(variables, textless)["content"] == 0


def test_what_it_hears_is_disguised_in_training_only(start, batch):
    plain = ImitationConfig(augment=AugmentConfig())
    key, (disguised, undisguised) = (
        jax.random.key(3),
        (Imitation(ACOUSTIC, start, config) for config in (ImitationConfig(), plain)),
    )
    variables = disguised.init(key)
    params, rest = variables["params"], {"constant": variables["constant"]}
    losses = [jax.jit(task.loss)(params, rest, batch, key)[0] for task in (disguised, undisguised)]
    assert losses[0] != losses[1]
    evaluated = [
        jax.jit(task.evaluate)(variables, batch)["loss"] for task in (disguised, undisguised)
    ]
    assert evaluated[0] == evaluated[1]


def test_settings_that_cannot_work(start, batch):
    config = ImitationConfig(augment=AugmentConfig(frequency_warp=(1.2, 0.8)))
    task = Imitation(ACOUSTIC, start, config)
    variables = task.init(jax.random.key(0))
    with pytest.raises(ConfigError, match="frequency_warp must be"):
        task.loss(
            variables["params"], {"constant": variables["constant"]}, batch, jax.random.key(0)
        )
