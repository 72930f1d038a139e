"""Mixing: the ratio asked for, whatever the loudness of the noise, and bands that end where they
say.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lin_jax.audio import mixing

RATE, N = 16000, 16000


def tone(*hz, n=N, amplitude=0.3):
    """One row for each frequency: [len(hz), n]."""
    return (amplitude * np.sin(2 * np.pi * np.array(hz)[:, None] * np.arange(n) / RATE)).astype(
        np.float32
    )


def full(B, value=N):
    return jnp.full((B,), value)


def db(ratio):
    return 10 * np.log10(ratio)


def test_a_mix_has_the_ratio_over_the_valid_samples():
    x, noise = tone(300, 300), mixing.coloured_noise(jax.random.key(0), 2, N)
    length, snr_db = jnp.array([N, 9000]), jnp.array([-5.0, 20.0])
    added = np.asarray(jax.jit(mixing.mix)(x, noise, snr_db, length))
    assert not added[1, 9000:].any()
    for row, clean, n, snr in zip(added, x, length, snr_db, strict=True):
        difference = (row - clean)[:n]
        assert db(np.sum(clean[:n] ** 2) / np.sum(difference**2)) == pytest.approx(
            float(snr), abs=0.01
        )
    whole = mixing.mix(x, noise, snr_db)
    np.testing.assert_array_equal(whole, mixing.mix(x, noise, snr_db, full(2)))


def test_a_band_keeps_what_is_inside():
    x = tone(100, 1000, 6000)
    limited = np.asarray(
        mixing.limit_band(x[[1]] + x, full(3, 300.0), full(3, 3400.0), RATE, full(3))
    )
    spectrum = np.abs(np.fft.rfft(limited))
    assert db(spectrum[0, 100] ** 2 / spectrum[0, 1000] ** 2) < -40
    assert db(spectrum[2, 6000] ** 2 / spectrum[2, 1000] ** 2) < -39
    np.testing.assert_allclose((limited**2).sum(1), ((x[[1]] + x) ** 2).sum(1), rtol=1e-4)


def test_levels():
    x = tone(300, 700) * np.array([[1.0], [0.1]])
    np.testing.assert_allclose(mixing.rms(mixing.normalise_rms(x)), 1.0, rtol=1e-5)
    assert not mixing.normalise_rms(np.zeros((1, 8))).any()
    np.testing.assert_allclose(
        mixing.rms(mixing.match_power(x, x[::-1])), mixing.rms(x[::-1]), rtol=1e-5
    )


def test_noise_on_the_host_is_repeated_to_the_end():
    samples, noise = tone(300)[0], tone(1000, n=3000)[0]
    added = mixing.add_noise(samples, noise, 6.0) - samples
    assert db(np.mean(samples**2) / np.mean(added**2)) == pytest.approx(6.0, abs=0.01)
    np.testing.assert_allclose(added[:3000], added[3000:6000], atol=1e-6)
    np.testing.assert_array_equal(mixing.add_noise(samples, np.zeros(10), 6.0), samples)


def test_narrow_channels_on_the_host():
    samples = tone(100, 1000, 6000).sum(0)
    narrow = mixing.narrowband(samples, RATE)
    assert (narrow.shape, narrow.dtype) == (samples.shape, np.float32)
    spectrum = np.abs(np.fft.rfft(narrow))  # 1 Hz a bin
    assert spectrum[100] == pytest.approx(spectrum[1000], rel=0.01)
    assert db(spectrum[6000] ** 2 / spectrum[1000] ** 2) < -80
    by_telephone, rate = mixing.telephone(samples, RATE)
    assert (rate, len(by_telephone)) == (8000, N // 2)
    spectrum = np.abs(np.fft.rfft(by_telephone))
    assert db(spectrum[100] ** 2 / spectrum[1000] ** 2) < -30
