"""Functionals: statistics of a whole clip's pitch, loudness, timbre and rhythm, in one row.

Statistics of low-level descriptors over the clip, after F. Eyben, M. Wöllmer and B. Schuller,
"openSMILE", ACM Multimedia 2010, and with them the contours and modulations that tell an emotion
apart where two sentences are the same.

Shape letters: N samples, T frames, F frequency bins, M mel bins, C cepstral coefficients, K
descriptors; `...` any leading batch axes.
"""

import contextvars
import itertools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax

PERCENTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STATISTICS = 4 + len(PERCENTILES)
ACTIVE_DB = 26.0  # frames this far below the loudest ones are pauses
MODULATION_HZ = (0.2, 1.0, 2.0, 3.0, 4.5, 6.5, 9.0, 13.0, 20.0, 32.0, 50.0)
CONTOUR, MELODY = 8, 10  # cosines that follow a descriptor, and the pitch, through the clip
BANDS = 4  # mel bands whose modulations are taken together
PITCH_HZ = (60.0, 900.0)
OCTAVE_COST = 0.01
RANGE = 0.75  # octaves to either side of a median pitch; what lies beyond is no voice
VOICED = 0.45  # harmonicity from which a frame has a pitch
DESCRIPTORS = 6
# Whether to use only what runtimes of ONNX have: neither complex numbers of real ones nor the bits of
# floats. What is used else takes two thirds of the time.
FOR_ONNX = contextvars.ContextVar("FOR_ONNX", default=False)


def count(n_mels: int, n_mfcc: int) -> int:
    """How many functionals there are of M mel bands and C cepstral coefficients."""
    statistics = n_mels + 3 * n_mfcc + -(-n_mels // 2) + 2 * DESCRIPTORS + 2
    modulations = n_mels // BANDS * (len(MODULATION_HZ) - 1)
    return STATISTICS * statistics + modulations + DESCRIPTORS * CONTOUR + MELODY + 4


def functionals(waveform, power, log_mel, cepstra, valid, sample_rate: int, hop_length: int):
    """All functionals of clips.

    Args:
        waveform: [..., N], zero past its end.
        power: of its spectrum [..., T, F].
        log_mel: in dB [..., T, M].
        cepstra: [..., T, C].
        valid: frames of the clip [..., T] bool; at least one.
        sample_rate: in Hz.
        hop_length: samples from one frame to the next.

    Returns:
        [..., `count(M, C)`] float32, finite.
    """
    shown = descriptors(power, valid, sample_rate)  # [..., T, 5]
    pitch, harmonicity = track_pitch(waveform, sample_rate, hop_length)
    shown = jnp.concatenate([shown, harmonicity[..., None]], axis=-1)
    loudness = jnp.where(valid, shown[..., 0], -jnp.inf)
    active = valid & (loudness > loudness.max(axis=-1, keepdims=True) - ACTIVE_DB)
    inner = valid & _shifted(valid, 1) & _shifted(valid, -1)
    innermost = inner & _shifted(inner, 1) & _shifted(inner, -1)
    voiced = active & (harmonicity > VOICED)
    enough = voiced.sum(axis=-1, keepdims=True) > 2
    voiced = (voiced & enough) | (valid & ~enough)  # ONNX runtimes choose between no booleans
    sliding = voiced & _shifted(voiced, 1) & _shifted(voiced, -1)

    slopes = _slope(cepstra)
    bands = log_mel[..., : log_mel.shape[-1] // BANDS * BANDS]
    bands = bands.reshape(*bands.shape[:-1], -1, BANDS).mean(axis=-1)
    frames = valid.sum(axis=-1)[..., None]
    starts = (voiced & ~_shifted(voiced, 1)).sum(axis=-1)[..., None]
    pitch = pitch[..., None]
    groups = [
        (jnp.concatenate([log_mel, cepstra, shown], axis=-1), active),
        (jnp.concatenate([slopes, _slope(log_mel[..., ::2]), _slope(shown)], axis=-1), inner),
        (_slope(slopes), innermost),
        (pitch, voiced),
        (_slope(pitch), sliding),
    ]
    x = jnp.concatenate([x for x, _ in groups], axis=-1)
    # All at once, since what takes long is to compile them.
    taken = statistics(
        x, jnp.concatenate([jnp.broadcast_to(c[..., None], x.shape) for x, c in groups], axis=-1)
    )
    ends = np.cumsum([x.shape[-1] for x, _ in groups])
    functionals = [
        *(part.reshape(*part.shape[:-2], -1) for part in jnp.split(taken, ends[:-1], axis=-1)),
        contours(shown, valid, CONTOUR),
        contours(pitch, voiced, MELODY),
        modulations(bands, valid, sample_rate / hop_length),
        frames * hop_length / sample_rate,
        *(part.sum(axis=-1)[..., None] / frames for part in (active, voiced)),
        starts / frames,
    ]
    return jnp.concatenate(functionals, axis=-1)


def descriptors(power, valid, sample_rate: int):
    """Descriptors of each frame that come from its spectrum.

    Args:
        power: [..., T, F].
        valid: [..., T] bool.
        sample_rate: in Hz.

    Returns:
        [..., T, 5]: level in dB, centroid in kHz, level above 1 kHz relative to that below, level
        above 4 kHz relative to all, both in dB, and the change of the spectrum's shape since the
        last frame.
    """
    hertz = np.linspace(0, sample_rate / 2, power.shape[-1])
    power = jnp.where(valid[..., None], power, 0.0) + 1e-8
    ranges = [hertz >= 0, hertz >= 1000, hertz < 1000, hertz >= min(4000, sample_rate / 4)]
    sums = jnp.matmul(power, np.array(ranges, np.float32).T, precision="highest")
    total, bright, dark, brilliant = jnp.split(10 * jnp.log10(sums), 4, axis=-1)
    shape = power / sums[..., :1]
    change = jnp.diff(jnp.sqrt(shape), axis=-2, prepend=jnp.sqrt(shape[..., :1, :]))
    return jnp.concatenate(
        [
            total,
            (shape * hertz.astype(np.float32) / 1000).sum(axis=-1, keepdims=True),
            bright - dark,
            brilliant - total,
            jnp.sqrt((change**2).sum(axis=-1, keepdims=True)),
        ],
        axis=-1,
    )


def track_pitch(waveform, sample_rate: int, hop_length: int):
    """Pitch and harmonicity of each frame, by the autocorrelation of its window.

    P. Boersma, "Accurate short-term analysis of the fundamental frequency and the
    harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17, 1993; each frame by itself,
    without a path through their candidates.

    Args:
        waveform: [..., N].
        sample_rate: in Hz.
        hop_length: samples from one frame to the next; the first is centred on sample 0.

    Returns:
        pitch in octaves above 100 Hz [..., T], and the share of the power that is periodic [...,
        T], 0 to 1.
    """
    from scipy import fft

    size = 2 ** math.ceil(math.log2(3 * sample_rate / PITCH_HZ[0]))
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    T = 1 + waveform.shape[-1] // hop_length
    padded = jnp.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(size // 2, size // 2)])
    frames = padded[..., jnp.arange(T)[:, None] * hop_length + np.arange(size)]  # [..., T, size]
    frames = (frames - frames.mean(axis=-1, keepdims=True)) * window
    first, last = int(sample_rate / PITCH_HZ[1]), math.ceil(sample_rate / PITCH_HZ[0])
    n_fft = fft.next_fast_len(size + last + 1, real=True)  # longer lags, which wrap, are not used

    def autocorrelation(x):
        spectrum = jnp.fft.rfft(x, n_fft)
        power = spectrum.real**2 + spectrum.imag**2
        if (
            FOR_ONNX.get()
        ):  # of what is real and even, the transform is its inverse but for a factor
            even = jnp.concatenate([power, power[..., (n_fft - 1) // 2 : 0 : -1]], axis=-1)
            r = jnp.fft.rfft(even).real / n_fft
        else:
            r = jnp.fft.irfft(power, n_fft)
        r = r[..., : last + 2]
        return r / jnp.maximum(r[..., :1], 1e-9)

    r = autocorrelation(frames) / autocorrelation(window)  # [..., T, lags]
    lags = np.arange(first, last + 1)
    best = first + jnp.argmax(r[..., lags] - OCTAVE_COST * np.log2(lags / first), axis=-1)
    before, at, after = (
        jnp.take_along_axis(r, best[..., None] + d, axis=-1)[..., 0] for d in (-1, 0, 1)
    )
    curve = 2 * at - before - after  # of the parabola through the three
    offset = jnp.where(curve > 1e-6, (after - before) / jnp.maximum(2 * curve, 1e-6), 0.0).clip(
        -0.5, 0.5
    )
    return jnp.log2(sample_rate / 100 / (best + offset)), at.clip(0.0, 1.0)


def voiced_pitch(waveform, sample_rate: int, hop_length: int):
    """Pitch of `track_pitch` [..., T], NaN where a frame has none; arguments are those."""
    pitch, harmonicity = track_pitch(waveform, sample_rate, hop_length)
    return jnp.where(harmonicity > VOICED, pitch, jnp.nan)


def within_range(pitch):
    """Pitch [..., T] in octaves without what is farther than `RANGE` from its median; NaN is unvoiced."""
    return jnp.where(
        jnp.abs(pitch - jnp.nanmedian(pitch, -1, keepdims=True)) < RANGE, pitch, jnp.nan
    )


def statistics(x, chosen):
    """Mean, deviation, skewness, slope over time and percentiles of each descriptor.

    They are over the frames that are chosen.

    Args:
        x: [..., T, K].
        chosen: [..., T, K] bool; if none is, all statistics are 0.

    Returns:
        [..., `STATISTICS`, K].
    """
    number = chosen.sum(axis=-2, keepdims=True)  # [..., 1, K]
    n = jnp.maximum(number, 1)

    def mean(y):
        return y.sum(axis=-2, keepdims=True) / n

    middle = mean(jnp.where(chosen, x, 0.0))
    apart = jnp.where(chosen, x - middle, 0.0)
    deviation = jnp.sqrt(mean(apart**2) + 1e-6)
    time = (2 * jnp.cumsum(chosen, axis=-2) - 1) / n - 1  # from -1 to 1
    ordered = _sorted(jnp.where(chosen, x, jnp.inf))
    place = np.array(PERCENTILES, np.float32)[:, None] * (n - 1)  # [..., percentiles, K]
    low = jnp.floor(place).astype(jnp.int32)
    below, above = (
        jnp.take_along_axis(ordered, jnp.minimum(low + d, n - 1), axis=-2) for d in (0, 1)
    )
    percentiles = below + (place - low) * (above - below)
    values = [middle, deviation, mean((apart / deviation) ** 3), mean(apart * time), percentiles]
    return jnp.where(number > 0, jnp.concatenate(values, axis=-2), 0.0)


def contours(x, chosen, terms: int):
    """How descriptors move through the clip: their first cosines, whatever the clip's length.

    Args:
        x: [..., T, K].
        chosen: the frames that count [..., T] bool.
        terms: cosines.

    Returns:
        [..., terms K].
    """
    n, kept = jnp.maximum(chosen.sum(axis=-1), 1)[..., None, None], chosen[..., None]
    x = jnp.where(kept, x - jnp.where(kept, x, 0.0).sum(axis=-2, keepdims=True) / n, 0.0)
    T = chosen.shape[-1]
    end = T - jnp.argmax(chosen[..., ::-1], axis=-1)[..., None]  # past the last one
    phase = (jnp.arange(T) + 0.5) / end  # [..., T]
    cosines = jnp.cos(
        jnp.pi * jnp.arange(1, terms + 1)[:, None] * phase[..., None, :]
    )  # [..., terms, T]
    weights = jnp.matmul(cosines, x, precision="highest") / n
    return weights.reshape(*weights.shape[:-2], -1)


def modulations(x, valid, frame_rate: float):
    """Rhythm: how strongly descriptors rise and fall at each rate from slow to fast, as logarithms.

    Args:
        x: [..., T, K].
        valid: [..., T] bool.
        frame_rate: frames a second.

    Returns:
        [..., ten K]; rates above half the frame rate have the floor.
    """
    n, kept = valid.sum(axis=-1)[..., None, None], valid[..., None]
    x = jnp.where(kept, x - jnp.where(kept, x, 0.0).sum(axis=-2, keepdims=True) / n, 0.0)
    # All rates are multiples of the slowest, so that its periods may be laid on top of each other.
    slowest, *_, fastest = MODULATION_HZ
    period = round(frame_rate / slowest)
    periods = -(-x.shape[-2] // period)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, periods * period - x.shape[-2]), (0, 0)])
    x = x.reshape(*x.shape[:-2], periods, period, x.shape[-1]).sum(axis=-3)
    hertz = np.arange(0.0, fastest, slowest)
    within = [(hertz >= low) & (hertz < high) for low, high in itertools.pairwise(MODULATION_HZ)]
    weights = np.array(within, np.float32) / np.sum(within, axis=1, keepdims=True)
    weights = weights[:, hertz < frame_rate / 2]
    spectrum = jnp.fft.rfft(jnp.moveaxis(x, -1, -2))  # [..., K, rates]
    power = (spectrum.real**2 + spectrum.imag**2)[..., : weights.shape[1]]
    strength = jnp.moveaxis(jnp.sqrt(power / n + 1e-12), -1, -2)
    means = jnp.matmul(weights, strength, precision="highest")
    return jnp.log(means.reshape(*means.shape[:-2], -1) + 1e-2)


def _sorted(x):
    """Float32 [..., T, K], none of them NaN, in ascending order over T; without a gradient.

    On CPU, XLA compares integers several times as fast, and the bits of floats are ordered as
    integers where those of negative ones are inverted.
    """
    if FOR_ONNX.get():
        return jnp.sort(x, axis=-2)

    def inverted(bits):
        return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)

    keys = inverted(lax.bitcast_convert_type(x, jnp.int32))
    keys = lax.sort(keys, dimension=keys.ndim - 2, is_stable=False)
    return lax.bitcast_convert_type(inverted(keys), jnp.float32)


def _slope(x):
    """Central difference over time of [..., T, K].

    Its first and last frames, and those of a clip, mean nothing.
    """
    return (jnp.roll(x, -1, axis=-2) - jnp.roll(x, 1, axis=-2)) / 2


def _shifted(chosen, by: int):
    """Frames [..., T] whose neighbour that many frames before is chosen."""
    T = chosen.shape[-1]
    padded = jnp.pad(chosen, [(0, 0)] * (chosen.ndim - 1) + [(abs(by), abs(by))])
    return padded[..., abs(by) - by : abs(by) - by + T]
