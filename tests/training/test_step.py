"""The train step and the optimiser, by hand-made values and by laws."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from helpers import tiny

from lin_jax.errors import ConfigError
from lin_jax.training import optim, precision
from lin_jax.training.state import create_state
from lin_jax.training.step import make_train_step

KEY = jax.random.key(0)


class Quadratic:
    """One parameter w with loss (w − target)²: every update can be worked out on paper."""

    def init(self, key):
        return {"params": {"w": jnp.array([[4.0]])}}

    def loss(self, params, model_state, batch, key):
        loss = jnp.sum(jnp.square(params["w"] - batch["target"]))
        return loss, (model_state, {"loss": loss, "noise": jax.random.normal(key)})


def run(optimizer, steps, *, ema_decay=0.0, target=0.0):
    """States and sums of a few steps on Quadratic, the initial state first."""
    task = Quadratic()
    step = jax.jit(make_train_step(task, optimizer, ema_decay=ema_decay))
    states, sums = [create_state(task, optimizer, KEY, ema_decay)], []
    for _ in range(steps):
        state, s = step(states[-1], {"target": jnp.array(target)}, KEY)
        states.append(state)
        sums.append(s)
    return states, sums


def test_step_by_hand():
    """Gradient descent with rate 0.25 halves w; step, loss and gradient norm are reported."""
    states, sums = run(optax.sgd(0.25), 3)
    assert [float(s.params["w"][0, 0]) for s in states] == [4.0, 2.0, 1.0, 0.5]
    assert [int(s.step) for s in states] == [0, 1, 2, 3]
    assert [(float(s["loss"]), float(s["grad_norm"]), float(s["steps"])) for s in sums] == [
        (16.0, 8.0, 1.0),
        (4.0, 4.0, 1.0),
        (1.0, 2.0, 1.0),
    ]
    assert len({float(s["noise"]) for s in sums}) == 3, "each step draws randomness of its own"


def test_a_state_starts_from_parameters_that_fit():
    state = create_state(Quadratic(), optax.sgd(0.25), KEY, 0.9, {"w": np.array([[7.0]])})
    assert (state.params["w"], state.variables["params"]["w"]) == (7.0, 7.0)
    with pytest.raises(ConfigError, match="of another network"):
        create_state(Quadratic(), optax.sgd(0.25), KEY, params={"w": np.zeros((2, 1))})


def test_moving_average_by_hand():
    """Decay min(0.3, (1 + step) / (10 + step)); the average is what is evaluated."""
    states, _ = run(optax.sgd(0.25), 5, ema_decay=0.3)
    expected = 4.0
    for step, w in enumerate([2.0, 1.0, 0.5, 0.25, 0.125]):
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * w
    np.testing.assert_allclose(states[-1].variables["params"]["w"], [[expected]], rtol=1e-6)
    assert run(optax.sgd(0.25), 1)[0][-1].ema is None


def test_moving_average_holds_batch_statistics():
    """The average covers every collection of the network, so that its parts fit each other."""
    task, optimizer = tiny.make_task(), optim.build(optim.OptimConfig(), 10)
    state = create_state(task, optimizer, KEY, 0.9)
    state, _ = jax.jit(make_train_step(task, optimizer, ema_decay=0.9))(
        state, tiny.make_batch(), KEY
    )
    now, average = state.model_state["batch_stats"], state.variables["batch_stats"]
    jax.tree.map(lambda a, b: np.testing.assert_array_less(0.0, np.abs(a - b).max()), now, average)


def test_step_vmaps_over_seeds():
    """Several runs trained side by side equal the runs trained one by one."""
    task, optimizer = tiny.make_task(label_smoothing=0.1), optax.sgd(0.1)
    step, batch = make_train_step(task, optimizer), tiny.make_batch()
    keys = jax.random.split(KEY, 2)
    states = jax.vmap(lambda key: create_state(task, optimizer, key))(keys)
    together, _ = jax.jit(jax.vmap(step, in_axes=(0, None, 0)))(states, batch, keys)
    for i, key in enumerate(keys):
        alone, _ = jax.jit(step)(create_state(task, optimizer, key), batch, key)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6),
            together.params,
            alone.params,
        )


class Regression:
    """A linear map, and the number of steps and mean of the inputs as its state."""

    def init(self, key):
        return {"params": {"w": jax.random.normal(key, (3, 1))}, "seen": {"step": 0, "mean": 0.0}}

    def loss(self, params, model_state, batch, key):
        error, weight = jnp.square(batch["x"] @ params["w"] - 1.0)[:, 0], batch["weight"]
        total = jnp.sum(weight)
        mean = jnp.sum(weight * batch["x"][:, 0]) / jnp.maximum(total, 1.0)
        seen = {"step": model_state["seen"]["step"] + 1, "mean": mean}
        sums = {"loss": jnp.sum(weight * error), "weight": total}
        return sums["loss"] / jnp.maximum(total, 1.0), ({"seen": seen}, sums)


def test_accumulation_is_the_large_batch():
    """The parts count by the weight of their examples, of which a part may have none."""
    task, optimizer = Regression(), optim.build(optim.OptimConfig(clip_norm=0.1), 8)
    rng = np.random.default_rng(0)
    weight = np.array([1, 0, 1, 1, 1, 0, 0.5, 1, 1, 0, 1, 1], np.float32)
    batch = {"x": rng.normal(size=(12, 3)).astype(np.float32), "weight": weight}
    state = create_state(task, optimizer, KEY)
    (whole, sums), *parts = (
        jax.jit(make_train_step(task, optimizer, accumulate=parts))(state, batch, KEY)
        for parts in (1, 2, 4)
    )
    for part, part_sums in parts:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6, 1e-6), part, whole)
        assert float(part_sums["weight"]) == 8.5
        for name in ("grad_norm", "learning_rate"):
            mean = float(part_sums[name] / part_sums["steps"])
            assert mean == pytest.approx(float(sums[name]), rel=1e-5)
    with pytest.raises(ConfigError, match="batch of 12 cannot be taken in 5 parts"):
        make_train_step(task, optimizer, accumulate=5)(state, batch, KEY)


def test_bfloat16_is_of_the_layers_alone():
    """Products are of bfloat16; parameters, statistics and loss are float32, and it learns alike."""
    task, optimizer = tiny.make_task(dropout=0.0), optax.sgd(0.1)
    state, losses = create_state(task, optimizer, KEY), {}
    for dtype in ("float32", "bfloat16"):
        step = make_train_step(task, optimizer, precision=dtype)
        dots = [
            {v.aval.dtype.name for v in equation.invars}
            for equation in jax.make_jaxpr(step)(state, tiny.make_batch(), KEY).eqns
            if equation.primitive.name == "dot_general"
        ]
        assert dots.count({"bfloat16"}) == (5 if dtype == "bfloat16" else 0)  # 2 forth, 3 back
        now, losses[dtype] = state, []
        for seed in range(8):
            now, sums = jax.jit(step)(now, tiny.make_batch(seed=seed), KEY)
            losses[dtype].append(float(sums["loss"] / sums["weight"]))
        assert {leaf.dtype.name for leaf in jax.tree.leaves(now.variables)} == {"float32"}
        assert sums["loss"].dtype == jnp.float32
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.03)
    assert losses["bfloat16"] != losses["float32"]
    with pytest.raises(ConfigError, match="choose one of float32, bfloat16"):
        make_train_step(task, optimizer, precision="half")(state, tiny.make_batch(), KEY)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.OptimizedLSTMCell])
def test_bfloat16_of_recurrent_layers(cell):
    """Their state stays float32, and the layers are afterwards what they were."""
    layer, x = nn.RNN(cell(4)), jnp.ones((2, 5, 3))
    variables = layer.init(KEY, x)
    expected = layer.apply(variables, x)
    with precision.compute_in("bfloat16"):
        rounded = layer.apply(variables, x)
    assert rounded.dtype == jnp.float32
    assert 0.0 < np.abs(rounded - expected).max() < 0.01
    np.testing.assert_array_equal(layer.apply(variables, x), expected)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"schedule": "constant"}, {0: 1.0, 7: 1.0}),
        ({"schedule": "constant", "warmup_steps": 4}, {0: 0.0, 1: 0.25, 4: 1.0, 7: 1.0}),
        ({"schedule": "cosine"}, {0: 1.0, 4: 0.5, 6: 0.5 * (1 + np.cos(0.75 * np.pi))}),
        ({"schedule": "cosine", "warmup_steps": 4}, {0: 0.0, 2: 0.5, 4: 1.0, 6: 0.5}),
        # The loss never falls after the first average: halved after every two averages of one step.
        (
            {"schedule": "plateau", "plateau_steps": 1, "plateau_patience": 2},
            {0: 1.0, 1: 1.0, 2: 0.5, 3: 0.5, 4: 0.25},
        ),
    ],
    ids=["constant", "warmup", "cosine", "warmup-cosine", "plateau"],
)
def test_learning_rate(config, expected):
    """Each schedule gives the rate its formula says, and the state tells it."""
    optimizer = optim.build(optim.OptimConfig(learning_rate=1.0, **config), num_steps=8)
    params = {"w": jnp.zeros((2, 2))}
    state, rates = optimizer.init(params), []
    for _ in range(8):
        _, state = optimizer.update(params, state, params, value=jnp.array(1.0))
        rates.append(float(optim.learning_rate(state)))
    for step, rate in expected.items():
        assert rates[step] == pytest.approx(rate, abs=1e-6)


def test_plateau_reduces_only_when_the_loss_stops_falling():
    """A loss that falls with every average keeps the rate."""
    config = optim.OptimConfig(
        learning_rate=1.0, schedule="plateau", plateau_steps=2, plateau_patience=1
    )
    optimizer, params = optim.build(config, 8), {"w": jnp.zeros((2, 2))}
    state = optimizer.init(params)
    for loss in [5.0, 7.0, 4.0, 6.0, 3.0, 5.0]:
        _, state = optimizer.update(params, state, params, value=jnp.array(loss))
    assert optim.learning_rate(state) == 1.0
    for loss in [9.0, 9.0]:
        _, state = optimizer.update(params, state, params, value=jnp.array(loss))
    assert optim.learning_rate(state) == 0.5


def test_clipping_and_weight_decay():
    """The first Adam update has size one a parameter.

    Decay is added to matrices, never to biases.
    """
    optimizer = optim.build(
        optim.OptimConfig(learning_rate=0.1, schedule="constant", weight_decay=0.5), 8
    )
    params = {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full((2,), 2.0)}
    updates, _ = optimizer.update(params, optimizer.init(params), params, value=1.0)
    np.testing.assert_allclose(updates["kernel"], -0.1 * (1.0 + 0.5 * 2.0), rtol=1e-5)
    np.testing.assert_allclose(updates["bias"], -0.1, rtol=1e-5)
    clipping = optim.build(
        optim.OptimConfig(clip_norm=1e-6, schedule="constant", learning_rate=0.1), 8
    )
    updates, state = clipping.update(params, clipping.init(params), params, value=1.0)
    assert float(optax.tree.norm(optax.tree.get(state, "mu"))) == pytest.approx(
        0.1 * 1e-6, rel=1e-4
    )


@pytest.mark.parametrize(
    "config",
    [{"schedule": "linear"}, {"learning_rate": 0.0}, {"ema_decay": 1.0}, {"warmup_steps": 8}],
)
def test_impossible_configs_are_refused(config):
    """A value that cannot work is named, with the mend."""
    with pytest.raises(ConfigError, match=r": (choose|try|lower)"):
        optim.build(optim.OptimConfig(**config), 8)
