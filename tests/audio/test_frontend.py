"""The front end: librosa's numbers, and padding that changes nothing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from lin_jax.audio import frontend
from lin_jax.audio.frontend import FrontendConfig, extract
from lin_jax.errors import ConfigError


def speech_like(rate, seconds=1.5, seed=0):
    """A gliding voice with eleven harmonics, pauses between syllables, and breath noise 50 dB
    below.
    """
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.3 * time)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.maximum(
        0, np.sin(2 * np.pi * 2.5 * time)
    )
    return (0.2 * voice + 1e-3 * np.random.default_rng(seed).normal(size=len(time))).astype(
        np.float32
    )


def extracted(config, x, length=None):
    return jax.jit(functools.partial(extract, config))(x, length)


RATES = {
    16000: {"n_fft": 512, "win_length": 400, "hop_length": 160},
    22050: {"n_fft": 1024, "win_length": 1024, "hop_length": 256},
    48000: {"n_fft": 2048, "win_length": 1200, "hop_length": 480},
}


@pytest.mark.parametrize("rate", RATES)
def test_features_are_librosas(rate):
    """Of a made-up voice; real ones hold more dynamics.

    On 64 real clips at each rate, mel power within 80 dB of the clip's largest deviates by 2.3e-4,
    1.6e-4 and 1.2e-4 at the worst (16, 22.05 and 48 kHz), by 3e-5 to 6e-5 in the median clip's
    worst value. It is the rounding of the float32 FFT: librosa transforms in float64. The window in
    float32 makes 3e-5 of it, the filter bank less than 1e-6.
    """
    x = speech_like(rate)
    config = FrontendConfig(sample_rate=rate, n_mels=80, feature="mfcc", deltas=2, **RATES[rate])
    power = librosa.feature.melspectrogram(
        y=x, sr=rate, n_mels=80, fmin=config.f_min, pad_mode="constant", **RATES[rate]
    )
    bank = frontend.mel_filter_bank(rate, config.n_fft, 80, config.f_min, None)
    mel = frontend.mel_spectrogram(frontend.stft(x, **RATES[rate]), bank).T
    np.testing.assert_allclose(mel, power, rtol=1e-4)

    log_mel = librosa.power_to_db(power, top_db=80.0)
    ours, num_frames = extracted(dataclasses.replace(config, feature="log_mel", deltas=0), x)
    assert ours.shape == (config.num_frames(len(x)), 80)
    assert num_frames == len(ours)
    np.testing.assert_allclose(ours.T, log_mel, atol=1e-3)

    static = librosa.feature.mfcc(S=log_mel, n_mfcc=20)
    expected = np.concatenate(
        [static, *(librosa.feature.delta(static, order=order) for order in (1, 2))]
    )
    ours, _ = extracted(config, x)
    assert ours.shape == (config.num_frames(len(x)), config.num_features)
    np.testing.assert_allclose(ours.T, expected, atol=1e-5 * np.abs(static).max())


@pytest.mark.parametrize(
    ("rate", "n_mels", "f_min", "f_max"), [(16000, 64, 0.0, None), (48000, 128, 50.0, 14000.0)]
)
def test_mel_filter_bank_is_librosas(rate, n_mels, f_min, f_max):
    expected = librosa.filters.mel(sr=rate, n_fft=1024, n_mels=n_mels, fmin=f_min, fmax=f_max)
    np.testing.assert_allclose(
        frontend.mel_filter_bank(rate, 1024, n_mels, f_min, f_max), expected, atol=1e-8
    )


@pytest.mark.parametrize("feature", ["log_mel", "mfcc"])
def test_padding_changes_nothing(feature):
    """Clips in one padded batch, with rubbish past their ends, have the features that each has
    alone.
    """
    config = FrontendConfig(feature=feature, deltas=2, top_db=40.0)
    lengths = np.array(
        [24000, 16001, 1000]
    )  # the last one has fewer frames than a derivative needs
    batch = np.full((3, 24000), 9.0, np.float32)
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = speech_like(16000, seed=length)[:length]
    features, num_frames = extracted(config, batch, lengths)
    for row, length, frames, valid in zip(batch, lengths, features, num_frames, strict=True):
        alone, count = extracted(config, row[:length])
        assert valid == count == config.num_frames(length)
        np.testing.assert_allclose(frames[:valid], alone, atol=2e-4)
        assert not frames[valid:].any()


def test_vmap_is_a_batch():
    config = FrontendConfig(feature="mfcc", deltas=1)
    batch, lengths = (
        np.stack([speech_like(16000), speech_like(16000, seed=1)]),
        np.array([24000, 9000]),
    )
    mapped = jax.jit(jax.vmap(functools.partial(extract, config)))(batch, lengths)
    for ours, expected in zip(mapped, extracted(config, batch, lengths), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-4)


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "win_length"), [(512, 128, 512), (512, 160, 400), (1024, 200, 800)]
)
def test_istft_undoes_stft(n_fft, hop_length, win_length):
    x = np.random.default_rng(0).normal(size=(2, 4321)).astype(np.float32)
    spectrum = frontend.stft(x, n_fft, hop_length, win_length)
    assert spectrum.dtype == jnp.complex64
    back = frontend.istft(spectrum, hop_length, win_length, 4321)
    np.testing.assert_allclose(back, x, atol=1e-5)
    assert frontend.istft(spectrum, hop_length, win_length, 9000).shape == (2, 9000)


def test_gradient_reaches_the_waveform():
    """It agrees with a finite difference, and silence does not make it NaN."""
    config = FrontendConfig(feature="mfcc", deltas=1, top_db=None)
    x = speech_like(16000, 0.3)

    @jax.jit
    def loss(x):
        return jnp.mean(extract(config, x)[0] ** 2)

    gradient = jax.grad(loss)(x)
    direction = np.random.default_rng(1).normal(size=x.shape).astype(np.float32) * 1e-5
    difference = (loss(x + direction) - loss(x - direction)) / 2
    assert jnp.vdot(gradient, direction) == pytest.approx(float(difference), rel=0.05)
    assert jnp.isfinite(jax.grad(loss)(jnp.zeros_like(x))).all()


def test_fingerprint_is_stable():
    """The golden value: if it changes, every stored feature set and model stops loading."""
    assert FrontendConfig().fingerprint() == "c6121f20b7bb"
    assert FrontendConfig(f_min=20, level_db=-3).fingerprint() == FrontendConfig().fingerprint()
    others = [
        FrontendConfig(**change)
        for change in ({"n_mels": 65}, {"feature": "mfcc"}, {"trim_db": None})
    ]
    assert len({config.fingerprint() for config in [FrontendConfig(), *others]}) == 4


def test_config_survives_a_dict():
    config = FrontendConfig(feature="mfcc", f_max=7000.0, top_db=None)
    assert FrontendConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="no setting n_mel: remove it"):
        FrontendConfig.from_dict({"n_mel": 64})


@pytest.mark.parametrize(
    "change",
    [
        {"feature": "mel"},
        {"n_fft": 511},
        {"win_length": 513},
        {"hop_length": 401},
        {"f_max": 8001.0},
        {"f_min": -1.0},
        {"n_mfcc": 65, "feature": "mfcc"},
        {"deltas": 3},
        {"top_db": 0.0},
        {"level": "loud"},
        {"level_db": 1.0},
    ],
)
def test_config_that_cannot_work(change):
    name = next(iter(change))
    with pytest.raises(ConfigError, match=name):
        FrontendConfig(**change)
    config = FrontendConfig()
    vars(config).update(change)  # as command-line flags do
    with pytest.raises(ConfigError, match=name):
        extract(config, np.zeros(1000, np.float32))
