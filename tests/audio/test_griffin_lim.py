"""Griffin-Lim: as near as librosa's, and padding that changes nothing."""

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from lin_jax.audio import frontend
from lin_jax.audio.frontend import FrontendConfig, extract
from lin_jax.audio.griffin_lim import griffin_lim, mel_to_linear, mel_to_waveform
from lin_jax.errors import ConfigError

CONFIG = FrontendConfig(n_fft=512, win_length=512, hop_length=128, n_mels=40, f_min=0.0)
SIZES = {"n_fft": 512, "hop_length": 128, "win_length": 512}


def speech_like(seconds=0.8, rate=16000):
    """A gliding voice in syllables, and breath noise."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.3 * time)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 25)) * np.maximum(
        0, np.sin(2 * np.pi * 2.5 * time)
    )
    return (0.2 * voice + 1e-3 * np.random.default_rng(0).normal(size=len(time))).astype(np.float32)


def magnitudes(x):
    return np.abs(np.asarray(frontend.stft(x, **SIZES)))


def spectral_convergence(estimate, expected):
    return np.linalg.norm(estimate - expected) / np.linalg.norm(expected)


def test_as_near_as_librosas():
    """Spectral convergence after as many iterations; the momentum is worth most of it."""
    x = speech_like()
    S = magnitudes(x)
    ours, plain = (
        jax.jit(
            functools.partial(
                griffin_lim, hop_length=128, win_length=512, length=len(x), momentum=momentum
            )
        )(S)
        for momentum in (0.99, 0.0)
    )
    reference = [
        librosa.griffinlim(
            S.T, n_iter=32, length=len(x), pad_mode="constant", random_state=seed, **SIZES
        )
        for seed in range(3)
    ]
    reference = np.mean([spectral_convergence(magnitudes(y), S) for y in reference])
    assert ours.shape == x.shape
    assert spectral_convergence(magnitudes(ours), S) <= reference
    assert spectral_convergence(magnitudes(ours), S) < 0.6 * spectral_convergence(
        magnitudes(plain), S
    )


def test_linear_spectrum_is_not_negative_and_fits_the_mel_spectrum():
    bank = frontend.mel_filter_bank(16000, 512, 40, 0.0, None)
    power = magnitudes(speech_like()) ** 2
    mel = power @ bank.T
    linear = np.asarray(mel_to_linear(jnp.asarray(mel), bank))
    assert linear.min() >= 0
    reference = librosa.feature.inverse.mel_to_stft(mel.T, sr=16000, n_fft=512, fmin=0.0).T ** 2
    ours, librosas = (
        np.sqrt(np.mean((librosa.power_to_db(estimate @ bank.T) - librosa.power_to_db(mel)) ** 2))
        for estimate in (linear, reference)
    )
    assert ours < min(1.0, librosas)  # dB


def test_the_front_end_hears_the_features_again():
    frames_of = jax.jit(functools.partial(extract, CONFIG))
    features, _ = frames_of(speech_like())
    speak = jax.jit(functools.partial(mel_to_waveform, CONFIG))
    waveform, length = speak(features)
    assert length == len(waveform) == 128 * (len(features) - 1)
    again, _ = frames_of(waveform)
    loud = np.asarray(features) > features.max() - 40
    assert np.abs(np.asarray(again - features))[loud].mean() < 1.5  # dB
    assert jnp.abs(speak(jnp.full_like(features, -100.0))[0]).max() < 1e-4


def test_padding_changes_nothing():
    """Up to rounding, which the phases of quiet bins magnify.

    The end, where a leak would be, is looked at apart.
    """
    features = np.asarray(jax.jit(functools.partial(extract, CONFIG))(speech_like())[0])
    num_frames = np.array([len(features), 37])
    batch = (
        np.random.default_rng(0).normal(size=(2, len(features) + 9, 40)).astype(np.float32)
    )  # rubbish at first
    for row, count in zip(batch, num_frames, strict=True):
        row[:count] = features[:count]
    run = jax.jit(functools.partial(mel_to_waveform, CONFIG, iterations=2, momentum=0.0))
    waveforms, lengths = run(batch, num_frames)
    for waveform, length, count in zip(waveforms, lengths, num_frames, strict=True):
        alone, valid = run(features[:count])
        assert valid == length
        for part in (slice(0, length), slice(length - 256, length)):
            difference = jnp.linalg.norm(waveform[part] - alone[part])
            assert difference < 1e-2 * jnp.linalg.norm(alone[part])
        assert not waveform[length:].any()


def test_other_features_are_refused():
    with pytest.raises(ConfigError, match="log_mel features without deltas"):
        mel_to_waveform(FrontendConfig(feature="mfcc"), jnp.zeros((20, 20)))
