"""Figures of repaired audio: published rows, values by hand, and the reference packages."""

import importlib

import librosa
import numpy as np
import pytest
from helpers import verifiers

from lin_jax.errors import AudioError, ConfigError
from lin_jax.metrics import audio as audio_metrics

RATE = verifiers.RATE
CLEAN = verifiers.voice(0, 1.0)
NOISE = verifiers.noise(1.0)


@pytest.mark.parametrize(
    ("mse", "pitch", "loudness", "published"),
    [
        (0.01, 0.90, 0.85, 0.065),
        (0.005, 0.95, 0.90, 0.0375),
        (0.003, 0.97, 0.92, 0.0265),
        (0.002, 0.98, 0.95, 0.017),
    ],
)
def test_published_rows_of_the_quality_score(mse, pitch, loudness, published):
    assert audio_metrics.Quality(mse, pitch, loudness).score == pytest.approx(published, abs=1e-12)


def test_quality_falls_with_noise_and_is_best_for_the_reference_itself():
    best = audio_metrics.quality(CLEAN, CLEAN, RATE)
    assert (best.mse, best.pitch, best.loudness) == pytest.approx((0, 1, 1))
    assert best.score == pytest.approx(0)
    scores = [
        audio_metrics.quality(CLEAN, CLEAN + gain * NOISE, RATE).score for gain in (0.1, 1.0, 10.0)
    ]
    assert 0 < scores[0] < scores[1] < scores[2]


def test_quality_by_hand():
    """Half as loud is 6.02 dB lower in every band above the floor, and has the same contours but
    for their scale.
    """
    tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE) + verifiers.noise(1.0)
    result = audio_metrics.quality(tone, tone / 2, RATE)
    assert result.mse == pytest.approx((20 * np.log10(2) / 80) ** 2, rel=0.02)
    assert result.pitch == pytest.approx(1, abs=0.01)
    assert result.loudness == pytest.approx(1)
    silent = audio_metrics.quality(tone, 0 * tone, RATE)
    assert (silent.pitch, silent.loudness) == (0, 0)


def test_contours():
    glide = np.sin(2 * np.pi * np.cumsum(np.linspace(100, 300, RATE)) / RATE).astype(np.float32)
    pitch = audio_metrics.pitch_contour(glide, RATE)
    np.testing.assert_allclose(pitch[5:-5], np.linspace(100, 300, len(pitch))[5:-5], rtol=0.03)
    assert not audio_metrics.pitch_contour(0 * glide, RATE).any()
    np.testing.assert_allclose(
        audio_metrics.loudness_contour(glide, RATE), librosa.feature.rms(y=glide, frame_length=1024, hop_length=256)[0],
        rtol=1e-4,
    )  # fmt: skip


def test_si_sdr_by_hand():
    """An orthogonal error of a tenth the amplitude is 20 dB, whatever the scale and the offset."""
    t = np.arange(RATE) / RATE
    clean, error = np.sin(2 * np.pi * 100 * t), np.cos(2 * np.pi * 100 * t)
    assert audio_metrics.si_sdr(clean, clean + 0.1 * error) == pytest.approx(20)
    assert audio_metrics.si_sdr(clean, -3 * (clean + 0.1 * error) + 0.7) == pytest.approx(20)
    assert audio_metrics.si_sdr(clean, 0.5 * clean) > 200


def test_log_spectral_distance_by_hand():
    assert audio_metrics.log_spectral_distance(NOISE, NOISE, RATE) == 0
    assert audio_metrics.log_spectral_distance(NOISE, NOISE * 10**0.5, RATE) == pytest.approx(
        10, abs=0.01
    )
    # Nothing lies further below than the floor.
    assert audio_metrics.log_spectral_distance(NOISE, 0 * NOISE, RATE) == pytest.approx(67, abs=5)


def test_intelligibility_falls_with_noise():
    pytest.importorskip("pystoi")
    sound = np.tile(CLEAN, 2) * np.repeat([1, 0.3, 1, 0.1], RATE // 2)
    clean, some, much = (
        audio_metrics.stoi(sound, sound + gain * verifiers.noise(2.0), RATE)
        for gain in (0.0, 0.3, 3.0)
    )
    assert clean == pytest.approx(1, abs=1e-6)
    assert clean > some > much


def test_wide_band_pesq():
    pytest.importorskip("pesq")
    assert audio_metrics.pesq(CLEAN, CLEAN, RATE) == pytest.approx(
        4.644, abs=0.001
    )  # its largest value
    assert audio_metrics.pesq(CLEAN, CLEAN + NOISE, RATE) < 3
    with pytest.raises(AudioError, match="no speech in the reference"):
        audio_metrics.pesq(0 * CLEAN, CLEAN, RATE)


def test_pesq_knows_one_rate():
    with pytest.raises(ConfigError, match="resample"):
        audio_metrics.pesq(CLEAN, CLEAN, 8000)


def test_missing_package_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(
        ConfigError, match=r"pystoi is not installed: pip install 'lin_jax\[eval\]'"
    ):
        audio_metrics.stoi(CLEAN, CLEAN, RATE)


@pytest.mark.parametrize("other", [CLEAN[:-1], np.stack([CLEAN, CLEAN])], ids=["shorter", "stereo"])
def test_what_is_not_in_step_is_refused(other):
    with pytest.raises(AudioError, match="cannot be compared"):
        audio_metrics.si_sdr(CLEAN, other)


def test_align():
    """A voice a tenth higher, or slower, or half of it whispered, against itself."""

    def contours(hz, seconds, whispered=0.0):
        t = np.arange(round(seconds * RATE)) / RATE
        envelope = np.minimum(1.0, 4 * np.abs(np.sin(np.pi * t / seconds * 2)))  # two syllables
        sound = sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 20)) * envelope * 0.1
        sound = np.where(t < whispered, 0.1 * verifiers.noise(seconds), sound)
        return audio_metrics.contours(sound, RATE)

    true = contours(120.0, 0.8)
    same = audio_metrics.align(true, true)
    assert (same.pitch_rmse, same.voicing_error) == (0.0, 0.0)
    assert same.quality.score == pytest.approx(0.0)
    assert audio_metrics.align(true, contours(132.0, 0.8)).pitch_rmse == pytest.approx(
        np.log(1.1), abs=0.02
    )
    slower = audio_metrics.align(true, contours(120.0, 1.0))
    assert slower.pitch_rmse < 0.02
    assert slower.voicing_error < 0.1
    assert slower.quality.score < 0.02
    whispered = audio_metrics.align(true, contours(120.0, 0.8, whispered=0.4))
    assert whispered.voicing_error > 0.12
    assert whispered.quality.pitch < 0.9
    assert np.isnan(
        audio_metrics.align(true, audio_metrics.contours(np.zeros(RATE), RATE)).pitch_rmse
    )


def test_mel_cepstral_distance():
    pytest.importorskip("mel_cepstral_distance")
    assert audio_metrics.mel_cepstral_distance(CLEAN, CLEAN, RATE) == pytest.approx(0, abs=1e-6)
    assert audio_metrics.mel_cepstral_distance(CLEAN, CLEAN + NOISE, RATE) > 2


def test_many_waveforms_are_compared(monkeypatch):
    """A figure that is not defined is NaN, and one whose package is not there is left out."""

    def refuse(reference, estimate, sample_rate):
        raise AudioError("no speech")

    def pesq(reference, estimate, sample_rate):
        raise AssertionError("its package is not there")

    monkeypatch.setitem(audio_metrics.PACKAGES, "pesq", "a_package_that_is_not_there")
    x = np.random.default_rng(0).normal(0, 0.1, (2, 4000))
    measures = {"lsd": audio_metrics.log_spectral_distance, "refused": refuse, "pesq": pesq}
    figures = audio_metrics.compare(measures, x, x, 16000)
    assert set(figures) == {"lsd", "refused"}
    np.testing.assert_array_equal(figures["lsd"], 0)
    assert np.isnan(figures["refused"]).all()
