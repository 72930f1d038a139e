"""Functionals against scipy, numpy and librosa, on tones of which the answer is known, and the laws
of a front end.
"""

import contextvars
import functools
import itertools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.stats
from jax.extend.core import jaxprs_in_params

from lin_jax.audio import functionals
from lin_jax.audio.frontend import FrontendConfig, extract

RATE = 16000
CONFIG = FrontendConfig(feature="functionals", n_mels=8, n_mfcc=4)
ALL = jax.jit(functools.partial(extract, CONFIG))


def tone(hertz, seconds=1.0, swell=0.0):
    """A harmonic sound [N], as loud as it swells that often a second."""
    t = np.arange(round(seconds * RATE)) / RATE
    sound = sum(np.sin(2 * np.pi * k * hertz * t) / k for k in range(1, 6))
    return (0.1 * sound * (1 + 0.8 * np.sin(2 * np.pi * swell * t))).astype(np.float32)


def glide(low, high, seconds=1.0):
    """A harmonic sound [N] whose pitch moves."""
    pitch = np.geomspace(low, high, round(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 6))).astype(np.float32)


@pytest.mark.parametrize("hertz", [80.0, 217.0, 640.0])
def test_pitch_of_a_tone(hertz):
    pitch, harmonicity = functionals.track_pitch(tone(hertz), RATE, 160)
    assert pitch.shape == harmonicity.shape == (101,)
    np.testing.assert_allclose(100 * 2 ** pitch[5:-5], hertz, rtol=2e-3)
    assert harmonicity[5:-5].min() > 0.99


def test_pitch_is_librosas():
    sound = glide(110, 330) + 0.003 * np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    pitch, _ = functionals.track_pitch(sound, RATE, 160)
    f0, voiced, _ = librosa.pyin(
        sound, fmin=60, fmax=900, sr=RATE, frame_length=1024, hop_length=160
    )
    apart = np.abs(pitch - np.log2(f0 / 100))[voiced]
    assert voiced.mean() > 0.9
    assert np.mean(apart < 0.03) > 0.95


def test_runtimes_of_onnx_can_compute_them():
    """They make complex numbers of real ones nowhere, choose between no booleans, and sort floats."""

    def equations(jaxpr):
        for equation in jaxpr.eqns:
            yield equation
            for inner in jaxprs_in_params(equation.params):
                yield from equations(inner)

    waveform = tone(217.0)
    features = ALL(waveform)[0]
    context = contextvars.copy_context()
    context.run(functionals.FOR_ONNX.set, True)
    alone = jax.jit(functools.partial(extract, CONFIG))
    jax.clear_caches()
    for equation in equations(context.run(jax.make_jaxpr(alone), waveform).jaxpr):
        kinds = [variable.aval.dtype.kind for variable in equation.invars]
        name = equation.primitive.name
        assert name != "bitcast_convert_type"
        assert not (name == "select_n" and kinds[1] == "b")
        if equation.outvars[0].aval.dtype.kind == "c":
            assert name in ("fft", "jit") or "c" in kinds
    np.testing.assert_allclose(context.run(alone, waveform)[0], features, atol=1e-4)


def test_noise_is_not_harmonic():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    harmonicity = functionals.track_pitch(noise, RATE, 160)[1]
    assert np.mean(harmonicity < functionals.VOICED) > 0.95


def test_statistics_are_those_of_numpy_and_scipy():
    rng = np.random.default_rng(0)
    x, chosen = rng.gamma(2.0, size=(40, 3)).astype(np.float32), rng.random(40) < 0.6
    kept = x[chosen]
    n = len(kept)
    time = (2 * np.arange(n) + 1) / n - 1
    expected = [
        kept.mean(axis=0),
        kept.std(axis=0),
        scipy.stats.skew(kept),
        np.mean(time[:, None] * (kept - kept.mean(axis=0)), axis=0),
        *np.quantile(kept, functionals.PERCENTILES, axis=0),
    ]
    results = functionals.statistics(x, np.stack([chosen, chosen, np.zeros(40, bool)], axis=1))
    np.testing.assert_allclose(results[:, :2], np.array(expected)[:, :2], rtol=2e-4, atol=1e-5)
    assert not results[:, 2].any()


def test_contours_tell_rising_from_falling():
    x = np.linspace(0, 1, 60, dtype=np.float32)[:, None]
    chosen = np.arange(60) < 50
    rising, falling = (functionals.contours(y, chosen, 3) for y in (x, -x))
    np.testing.assert_allclose(rising, -falling, atol=1e-6)
    assert rising[0] < -0.1
    np.testing.assert_allclose(rising[1], 0, atol=1e-4)


@pytest.mark.parametrize("rate", [2.4, 5.6, 16.0])
def test_modulations_are_where_loudness_swells(rate):
    t = np.arange(200) / 100
    results = functionals.modulations(
        np.sin(2 * np.pi * rate * t)[:, None], np.ones(200, bool), 100.0
    )
    edges = list(itertools.pairwise(functionals.MODULATION_HZ))
    assert edges[int(results.argmax())][0] <= rate < edges[int(results.argmax())][1]


@pytest.mark.parametrize("frames", [90, 500, 1234])
def test_modulations_are_means_of_the_fourier_transform(frames):
    """Computed by hand at every fifth of a hertz, however long the clip is."""
    x = np.random.default_rng(0).normal(size=(frames, 2))
    results = functionals.modulations(x.astype(np.float32), np.ones(frames, bool), 100.0)
    expected, hertz = [], np.arange(1, 250) / 5
    waves = np.exp(-2j * np.pi * np.outer(hertz, np.arange(frames)) / 100)
    strength = np.abs(waves @ (x - x.mean(axis=0))) / np.sqrt(frames)
    for low, high in itertools.pairwise(functionals.MODULATION_HZ):
        band = (hertz > low - 0.01) & (hertz < high - 0.01)
        expected.append(np.log(strength[band].mean(axis=0) + 1e-2))
    np.testing.assert_allclose(results, np.ravel(expected), atol=1e-4)


def padded(clips, size):
    """Clips in a batch [B, size], with noise past their ends, and their lengths [B]."""
    batch = np.random.default_rng(1).normal(size=(len(clips), size)).astype(np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    return batch, np.array([len(clip) for clip in clips])


def test_what_is_past_the_end_changes_nothing():
    clips = [
        tone(150, 0.7, 4.0),
        glide(100, 300, 1.0),
        np.random.default_rng(0).normal(0, 0.05, 9000),
    ]
    features, num_frames = ALL(*padded(clips, 16000))
    assert (features.shape, num_frames.tolist()) == ((3, 1, CONFIG.num_features), [1, 1, 1])
    np.testing.assert_allclose(ALL(*padded(clips, 20000))[0], features, rtol=1e-3, atol=2e-4)


def test_whatever_is_heard_is_finite():
    rng = np.random.default_rng(0)
    sounds = [a * rng.uniform(-1, 1, n) for a in (0.0, 1e-5, 1.0) for n in (1, 200, 1000, 5000)]
    assert np.isfinite(ALL(*padded(sounds, 5000))[0]).all()


def test_count_follows_the_front_end():
    for n_mels, n_mfcc in ((40, 16), (9, 3)):
        config = FrontendConfig(feature="functionals", n_mels=n_mels, n_mfcc=n_mfcc)
        shape = jax.eval_shape(functools.partial(extract, config), jnp.zeros((2, 8000)))[0].shape
        assert shape == (2, 1, config.num_features)
        assert config.num_frames(8000) == 1
