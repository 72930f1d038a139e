"""A recording as if it were whispered: the same articulation, with noise in place of the voice.

Shape letters: N samples, T frames, P coefficients.
"""

import numpy as np

FRAME_SECONDS = 0.032
ORDER = 2  # coefficients besides those of a formant each kHz
HOPS = 4  # in a frame


def whisper(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Speech [N] whose excitation is noise, by linear prediction; float32 [N], as loud as before.

    The envelope of every frame is that of the speech (B. Atal and S. Hanauer, "Speech analysis and
    synthesis by linear prediction of the speech wave", 1971). Who really whispers raises the
    formants and loses the tilt of the glottis besides.
    """
    size = round(FRAME_SECONDS * sample_rate / HOPS) * HOPS
    hop, order = size // HOPS, ORDER + round(sample_rate / 1000)
    count = -(-len(samples) // hop) + HOPS - 1  # of frames T, such that each sample is in as many
    at = np.arange(count)[:, None] * hop + np.arange(size)  # [T, frame]
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size)
    padded = np.zeros(at[-1, -1] + 1)
    padded[size - hop : size - hop + len(samples)] = samples
    spectrum = np.fft.rfft(padded[at] * window, 2 * size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, : order + 1]  # [T, P + 1]
    correlation[:, 0] = correlation[:, 0] * 1.0001 + 1e-12
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    predictor = np.linalg.solve(correlation[:, lags], correlation[:, 1:, None])[..., 0]  # [T, P]
    error = correlation[:, 0] - np.vecdot(predictor, correlation[:, 1:])
    inverse = np.fft.rfft(np.pad(-predictor, ((0, 0), (1, 0))), 2 * size)
    envelope = np.sqrt(np.maximum(error, 0))[:, None] / np.abs(1 + inverse)
    noise = np.random.default_rng(0).standard_normal(len(padded))[at] * window
    shaped = np.fft.irfft(np.fft.rfft(noise, 2 * size) * envelope)[:, :size] * window
    result = np.zeros(len(padded))
    np.add.at(result, at, shaped)
    result = result[size - hop : size - hop + len(samples)]
    level = np.sqrt(np.mean(np.square(samples)) / max(np.mean(result**2), 1e-20))
    return (level * result).astype(np.float32)
