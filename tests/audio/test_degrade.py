"""Degradations: each does what it says at its severity, keyed, and different for every example."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lin_jax.audio import degrade, mixing
from lin_jax.audio.degrade import KINDS, DegradeConfig, NoisePool
from lin_jax.errors import ConfigError

RATE, B, N = 16000, 4, 16000
KEY = jax.random.key(0)
SEVERITY = jnp.linspace(0, 1, B)
EVERYTHING = DegradeConfig(
    **{
        f"{name}_prob": 0.5
        for name in ("noise", "room", "clip", "drop", "band", "quantise", "drift", "clean")
    },
    gain_db=6.0,
)


@pytest.fixture(scope="module")
def speech():
    """Rows of noise with the envelope and the slope of speech."""
    rng = np.random.default_rng(0)
    envelope = np.interp(np.arange(N), np.arange(0, N + 1, 1600), rng.uniform(0, 1, 11))
    return (0.1 * envelope * np.cumsum(rng.standard_normal((B, N)), axis=1) / 50).astype(np.float32)


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(1)
    return NoisePool.of([rng.standard_normal(size).astype(np.float32) for size in (3000, 9000)])


def db(x):
    return 10 * np.log10(np.mean(np.square(x), axis=-1) + 1e-12)


def test_pool_repeats_what_is_short(pool):
    assert pool.waveform.shape == (2, 9000)
    np.testing.assert_array_equal(pool.waveform[0, 3000:6000], pool.waveform[0, :3000])
    np.testing.assert_array_equal(pool.length, [3000, 9000])


def test_default_changes_nothing(speech):
    damaged, clean = degrade.degrade(KEY, speech, None, DegradeConfig(), RATE)
    np.testing.assert_array_equal(damaged, speech)
    np.testing.assert_array_equal(clean, speech)


def test_everything_is_keyed_and_per_example(speech, pool):
    x = np.repeat(speech[:1], 12, axis=0)
    run = jax.jit(lambda key: degrade.degrade(key, x, pool, EVERYTHING, RATE))
    (damaged, clean), (again, _), (other, _) = run(KEY), run(KEY), run(jax.random.key(1))
    assert damaged.shape == clean.shape == x.shape
    assert np.isfinite(damaged).all()
    np.testing.assert_array_equal(damaged, again)
    assert not np.allclose(damaged, other)
    assert len({row.tobytes() for row in np.asarray(damaged)}) == 12
    untouched = (np.asarray(damaged) == clean).all(axis=1)
    assert 2 <= untouched.sum() <= 10, "about a half stays clean"
    gains = db(clean) - db(x)
    assert np.abs(gains).max() <= 6.001
    assert np.ptp(gains) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_noise_of_each_kind(speech, pool, kind):
    config = DegradeConfig(kinds=tuple(float(name == kind) for name in KINDS), second_prob=0.0)
    draw = jax.jit(
        functools.partial(degrade.draw_noise, config=config, sample_rate=RATE, clean=speech)
    )
    noise = np.asarray(draw(KEY, pool=pool) if kind == "recorded" else draw(KEY, pool=None))
    np.testing.assert_allclose(db(noise), 0, atol=0.01)
    assert len({row.tobytes() for row in noise}) == B
    snr = jnp.array([-5.0, 0.0, 10.0, 20.0])
    added = mixing.mix(speech, noise, snr) - speech
    np.testing.assert_allclose(db(speech) - db(added), snr, atol=0.05)


def test_hum_is_harmonic():
    spectrum = np.abs(
        np.fft.rfft(np.asarray(degrade.hum(KEY, 8, N, RATE)) * np.hanning(N))
    )  # 1 Hz a bin
    top = np.sort(spectrum**2, axis=1)[:, ::-1]
    assert (top[:, :120].sum(axis=1) > 0.99 * top.sum(axis=1)).all(), (
        "a few lines hold all the power"
    )


def test_clicks_are_sparse():
    x = np.abs(np.asarray(degrade.clicks(KEY, 16, N, RATE)))
    assert (x.max(axis=1) > 0).all()
    assert np.median(np.mean(x > 0.05 * x.max(axis=1, keepdims=True), axis=1)) < 0.3


def test_tones_are_few_lines_that_begin_again():
    x = np.asarray(jax.jit(lambda key: degrade.tones(key, 32, 62 * 512, RATE))(KEY))
    assert np.isfinite(x).all()
    assert (x.std(axis=1) > 0).all()
    spectrum = np.sort(np.abs(np.fft.rfft(x.reshape(32, -1, 512) * np.hanning(512))) ** 2, axis=-1)[
        ..., ::-1
    ]
    power = spectrum.sum(axis=-1)  # of each frame
    audible = power > 1e-2 * power.max(axis=1, keepdims=True)
    in_lines = (
        spectrum[..., :40].sum(axis=-1) > 0.9 * power
    )  # 40 of 257 bins; white noise has 0.5 there
    narrow = np.average(in_lines, axis=1, weights=audible) > 0.95
    assert narrow.mean() > 0.8, "few waver so fast that they fill the band"
    assert audible.mean(axis=1).min() < 0.5 < 0.95 < audible.mean(axis=1).max(), (
        "some die away, some last"
    )


def test_recordings_run_both_ways():
    rising = NoisePool.of([np.linspace(-1, 1, 20000, dtype=np.float32)])
    x = np.asarray(degrade.recorded_noise(KEY, rising, 32, 400))
    assert 5 < np.sum(np.median(np.diff(x), axis=1) > 0) < 27


def test_second_noise_and_missing_recordings(speech, pool):
    with pytest.raises(ConfigError, match="there are no recordings"):
        degrade.draw_noise(KEY, speech, None, DegradeConfig(), RATE)
    first, second = (
        degrade.draw_noise(
            KEY, speech, pool, DegradeConfig(kinds=(1, 0, 0, 0, 0, 0), second_prob=p), RATE
        )
        for p in (0, 1)
    )
    assert not np.allclose(first, second)


def test_clipping(speech):
    y = np.asarray(degrade.clip(speech, SEVERITY))
    ceiling = np.abs(y).max(axis=1)
    np.testing.assert_allclose(ceiling[-1] / np.sqrt(np.mean(speech[-1] ** 2)), 0.5, rtol=1e-3)
    share = np.mean(np.abs(y) >= 0.999 * ceiling[:, None], axis=1)
    assert (np.diff(share) > 0).all()
    assert share[0] < 0.01 < 0.4 < share[-1]
    inside = np.abs(y) < 0.999 * ceiling[:, None]
    np.testing.assert_array_equal(y[inside], speech[inside])


def test_drop_outs():
    x = jnp.ones((B, 20 * RATE))
    y = np.asarray(jax.jit(lambda key: degrade.drop_out(key, x, SEVERITY, RATE))(KEY))
    assert set(np.unique(y)) == {0.0, 1.0}
    np.testing.assert_allclose(1 - y.mean(axis=1), 0.01 + 0.19 * SEVERITY, rtol=0.35)
    edges = np.flatnonzero(np.diff(np.pad(y[0], 1, constant_values=1)))
    gaps = (edges[1::2] - edges[::2]) / RATE
    assert 0.005 <= gaps.min() < gaps.max() <= 0.12


def test_band_limit():
    x = np.random.default_rng(0).standard_normal((2, N)).astype(np.float32)
    power = (
        np.abs(
            np.fft.rfft(degrade.limit_band(x, jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0]), RATE))
        )
        ** 2
    )
    before = np.abs(np.fft.rfft(x)) ** 2
    for row, (low, high) in enumerate(((50, 7500), (400, 2800))):
        kept, gone = slice(2 * low, int(0.8 * high)), slice(min(int(1.5 * high), 7900), 8000)
        np.testing.assert_allclose(power[row, kept].sum() / before[row, kept].sum(), 1, atol=0.02)
        assert power[row, : low // 2].sum() < 0.01 * before[row, : low // 2].sum()
        assert power[row, gone].sum() < (0.5 if row == 0 else 0.01) * before[row, gone].sum()


def test_quantisation(speech):
    y = np.asarray(degrade.quantise(speech, SEVERITY))
    assert len(np.unique(y[-1])) <= 2**3 + 1
    error = db(y - speech)
    assert (np.diff(error) > 5).all()
    peak = np.abs(speech).max(axis=1)
    assert (np.abs(y - speech).max(axis=1) <= peak / 2 ** (10 - 7 * SEVERITY) * 1.01).all()


def test_drift_is_slow_and_as_deep_as_said():
    y = np.asarray(degrade.drift(KEY, jnp.ones((B, 10 * RATE)), SEVERITY, RATE))
    gain = 20 * np.log10(y)
    np.testing.assert_allclose(np.abs(gain).max(axis=1), 1 + 8 * SEVERITY, rtol=0.05)
    assert np.abs(np.diff(gain, axis=1)).max() * RATE < 2 * np.pi * 1.5 * 9


def test_room_keeps_the_direct_sound():
    x = np.zeros((B, N), np.float32)
    x[:, 100] = 1
    y = np.asarray(jax.jit(lambda key: degrade.reverberate(key, x, SEVERITY, RATE))(KEY))
    np.testing.assert_allclose(y[:, 100], 1, atol=1e-4)
    np.testing.assert_allclose(y[:, :100], 0, atol=1e-4)
    tail = y[:, 148:]
    assert (db(tail[:, :8000]) > -60).all()
    # the share of the tail's energy that comes late grows with the room
    late = np.sum(tail[:, 1600:] ** 2, axis=1) / np.sum(tail**2, axis=1)
    assert (np.diff(late) > 0).all()


def test_recorded_rooms(speech):
    """What is before the direct sound is cut, its level does not matter, and half of the rooms are
    recorded ones.
    """
    rng = np.random.default_rng(0)
    responses = [
        np.r_[np.zeros(30), -0.5, 0.1 * rng.standard_normal(200)],
        np.r_[2.0, rng.uniform(-1, 1, 90)],
    ]
    rooms = degrade.RoomPool.of(responses)
    expected = [
        np.apply_along_axis(np.convolve, 1, speech, h)[:, :N]
        for h in (responses[0][30:] / -0.5, responses[1] / 2)
    ]
    wet = np.asarray(jax.jit(degrade.apply_room)(KEY, speech, rooms))
    near = [np.abs(wet - row).max(axis=1) < 1e-4 * np.abs(speech).max() for row in expected]
    assert np.logical_xor(*near).all()

    many = np.tile(speech[:1], (40, 1))
    config = DegradeConfig(room_prob=1.0, severity=(0.5, 0.5))
    damaged, _ = degrade.degrade(KEY, many, None, config, RATE, degrade.RoomPool.of(responses[1:]))
    recorded = np.abs(damaged - expected[1][0]).max(axis=1) < 1e-3 * np.abs(speech).max()
    assert 8 < recorded.sum() < 32


@pytest.mark.parametrize(
    "wrong",
    [
        {"room_prob": 1.1},
        {"snr_db": (5, 0)},
        {"kinds": (1, 1)},
        {"severity": (0.5, 1.5)},
        {"gain_db": -1},
    ],
)
def test_config_is_checked(wrong, speech):
    with pytest.raises(ConfigError, match="degradation cannot work"):
        degrade.degrade(KEY, speech, None, DegradeConfig(**wrong), RATE)
