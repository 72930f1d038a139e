"""A live repairer in use: a stream, however it is cut, is what repairing the whole gives."""

import numpy as np
import pytest
from helpers import live

import lin_jax
from lin_jax import bundles
from lin_jax.errors import AudioError, ConfigError

RATE = live.RATE
X = np.random.default_rng(0).normal(0, 0.1, 8111).astype(np.float32)


@pytest.fixture(scope="module")
def bundle():
    return live.repairer()


def streamed(stream, samples, cuts):
    """What a stream makes of samples that come in pieces."""
    parts = [stream.push(part) for part in np.split(samples, cuts)]
    return np.concatenate([*parts, stream.flush()])


@pytest.mark.parametrize("cuts", [[], [1, 2, 4000, 4000, 7001], range(20, 8111, 20)])
def test_stream_is_the_whole(bundle, cuts):
    whole = bundle.repair(X, RATE)
    assert np.abs(whole - X).max() > 0.05
    np.testing.assert_allclose(streamed(bundle.stream(RATE), X, cuts), whole, atol=1e-5)


def test_after_its_end_another_begins(bundle):
    stream = bundle.stream(RATE)
    first = streamed(stream, X, [500])
    np.testing.assert_array_equal(streamed(stream, X, [500]), first)


def test_what_is_settled_waits_no_longer_than_the_latency(bundle):
    stream = bundle.stream(RATE)
    latency = round(stream.latency_seconds * RATE)
    settled = sum(len(stream.push(X[start : start + 20])) for start in range(0, 2000, 20))
    assert 2000 - settled <= latency == 40


def test_channels_are_repaired_each_for_itself(bundle):
    both = np.stack([X, X[::-1]], axis=1)
    got = streamed(bundle.stream(RATE, channels=2), both, [3000])
    for channel, alone in zip(got.T, both.T, strict=True):
        expected = streamed(bundle.stream(RATE), np.ascontiguousarray(alone), [])
        np.testing.assert_allclose(channel, expected, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_other_rates_keep_length_and_place(bundle, rate):
    t = np.arange(rate + 7) / rate
    tone = (0.1 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    got = streamed(bundle.stream(rate, strength=0.0), tone, [rate // 3])
    assert got.shape == tone.shape
    inner = slice(rate // 10, -rate // 10)
    assert np.abs(got[inner] - tone[inner]).max() < 1e-3


def test_strength_is_how_much_is_mixed_in(bundle):
    none, half, full = (streamed(bundle.stream(RATE, strength=s), X, []) for s in (0, 0.5, 1))
    np.testing.assert_allclose(none, X, atol=1e-6)
    np.testing.assert_allclose(half, (X + full) / 2, atol=1e-6)


def test_integers_and_no_samples(bundle):
    integers = np.round(X * 32767).astype(np.int16)
    got = streamed(bundle.stream(RATE), integers, [100])
    np.testing.assert_allclose(got, bundle.repair(integers, RATE), atol=1e-5)
    assert streamed(bundle.stream(RATE), X[:0], []).shape == (0,)


def test_what_is_no_sound_is_refused_and_the_stream_goes_on(bundle):
    stream = bundle.stream(RATE)
    begun = stream.push(X[:1000])
    for wrong in (np.full(50, np.nan, np.float32), np.zeros((50, 2), np.float32), ["a"]):
        with pytest.raises(AudioError):
            stream.push(wrong)
    got = np.concatenate([begun, stream.push(X[1000:]), stream.flush()])
    np.testing.assert_allclose(got, bundle.repair(X, RATE), atol=1e-5)


def test_what_cannot_be_is_refused_at_once(bundle):
    with pytest.raises(AudioError, match="is no sample rate"):
        bundle.stream(12.5)
    with pytest.raises(ConfigError, match="choose one from 0 to 1"):
        bundle.stream(RATE, strength=2)


def test_saved_and_loaded_streams_the_same(bundle, tmp_path):
    again = lin_jax.load(bundles.save(tmp_path / "live", bundle, "# Live\n"))
    assert isinstance(again, bundles.LiveRepairer)
    a, b = (streamed(each.stream(RATE), X, []) for each in (again, bundle))
    np.testing.assert_array_equal(a, b)
