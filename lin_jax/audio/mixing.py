"""Speech mixed with what disturbs it.

Noise at a signal-to-noise ratio, other voices, a narrow band.

The first part works on batches on device, where training damages its examples; the second, in NumPy
on the host, makes the conditions under which single recordings are judged.

Shape letters: B batch, N samples, M samples of a filter. Samples at or past a clip's length are
zero in every result.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lin_jax.audio import files
from lin_jax.shapes import check_shapes

# Noise power falls as 1 / frequency ** slope: 0 is white, 1 pink, 2 brown; room and street noise
# lie between.
NOISE_SLOPES = (0.0, 2.0)
# Of the Nyquist frequency, 50 Hz at 16 kHz: below, brown noise would be all power and no sound.
MIN_NOISE_FREQUENCY = 1 / 160
MAX_BABBLERS = 4  # other voices that speak at once

TELEPHONE_RATE = 8000  # Hz
TELEPHONE_BAND = (300, 3400)  # Hz


def valid_mask(x: jax.Array, length: ArrayLike) -> jax.Array:
    """Which samples of x [B, N] lie before `length` [B]: bool [B, N]."""
    return jnp.arange(x.shape[-1]) < jnp.asarray(length)[:, None]


def rms(x: jax.Array) -> jax.Array:
    """Root mean square [..., 1] of waveforms [..., N]."""
    return jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True))


def normalise_rms(x: jax.Array) -> jax.Array:
    """Waveforms [..., N] scaled to a root mean square of 1; silence stays silence."""
    return x / jnp.maximum(rms(x), 1e-9)


def match_power(y: jax.Array, x: jax.Array) -> jax.Array:
    """Waveforms y [B, N] scaled to the power of x [B, N]."""
    return y * jnp.sqrt(jnp.vecdot(x, x) / jnp.maximum(jnp.vecdot(y, y), 1e-20))[:, None]


def mix(
    x: jax.Array, noise: jax.Array, snr_db: ArrayLike, length: ArrayLike | None = None
) -> jax.Array:
    """Waveforms with noise added at a signal-to-noise ratio.

    Args:
        x: waveforms [B, N].
        noise: what is added [B, N], of any loudness.
        snr_db: ratio of the powers over the valid samples, in dB [B].
        length: valid samples [B] int; all of them when None.

    Returns:
        [B, N].

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(x=(x, "B N"), noise=(noise, "B N"), snr_db=(snr_db, "B"), length=(length, "B"))
    length = jnp.full(x.shape[:1], x.shape[1]) if length is None else length
    x, noise = (jnp.where(valid_mask(x, length), samples, 0.0) for samples in (x, noise))
    signal_power, noise_power = jnp.vecdot(x, x), jnp.maximum(jnp.vecdot(noise, noise), 1e-20)
    return x + noise * jnp.sqrt(signal_power / noise_power * 10 ** (-snr_db / 10))[:, None]


def coloured_noise(key: jax.Array, B: int, N: int) -> jax.Array:
    """Steady noise [B, N] of colours drawn between white and brown, of any loudness."""
    slope_key, noise_key = jax.random.split(key)
    slope = jax.random.uniform(slope_key, (B, 1), minval=NOISE_SLOPES[0], maxval=NOISE_SLOPES[1])
    # Each sample sums thousands of bins, so uniform parts sound as Gaussian, and 16 bits of
    # randomness are plenty: drawing bits is what costs time here.
    bits = jax.random.bits(noise_key, (B, N // 2 + 1))
    real, imaginary = jnp.moveaxis(jax.lax.bitcast_convert_type(bits, jnp.int16), -1, 0).astype(
        jnp.float32
    )
    frequency = np.linspace(0, 1, N // 2 + 1)  # of Nyquist
    audible = frequency >= MIN_NOISE_FREQUENCY
    tilt = jnp.exp(-slope / 2 * np.log(np.maximum(frequency, MIN_NOISE_FREQUENCY))) * audible
    return jnp.fft.irfft(jax.lax.complex(real, imaginary) * tilt, n=N)


def babble(key: jax.Array, x: jax.Array, length: ArrayLike | None = None) -> jax.Array:
    """Sum of up to `MAX_BABBLERS` other voices of the batch, different ones for each example.

    Args:
        key: PRNG key.
        x: waveforms [B, N].
        length: valid samples [B] int; all of them when None.

    Returns:
        [B, N], zero where the batch has a single example.
    """
    B, N = x.shape
    length = jnp.full(B, N) if length is None else length
    others = min(MAX_BABBLERS, B - 1)
    # Every clip gets another one, never itself.
    steps = jax.random.permutation(key, jnp.arange(1, B))[:others]
    voices = jnp.where(valid_mask(x, length), x, 0.0)
    if not others:
        return jnp.zeros_like(x)
    return sum(voices[(jnp.arange(B) + step) % B] for step in steps)


def convolve(x: jax.Array, response: jax.Array) -> jax.Array:
    """Waveforms [B, N] through a filter each [B, M], cut at their ends [B, N]."""
    check_shapes(x=(x, "B N"), response=(response, "B M"))
    size = fast_length(x.shape[1] + response.shape[1])
    return jnp.fft.irfft(jnp.fft.rfft(x, n=size) * jnp.fft.rfft(response, n=size), n=size)[
        :, : x.shape[1]
    ]


def limit_band(
    x: jax.Array,
    low: jax.Array,
    high: jax.Array,
    sample_rate: int,
    length: ArrayLike | None = None,
    *,
    keep_level: bool = True,
) -> jax.Array:
    """Waveforms through a narrow channel, such as a telephone from 300 to 3,400 Hz.

    Args:
        x: waveforms [B, N].
        low: lower edge of the band in Hz, [B].
        high: its upper edge in Hz, [B].
        sample_rate: in Hz.
        length: valid samples [B] int; all of them when None.
        keep_level: keep the power over the valid samples; else what passes the channel is as loud
            as it was.

    Returns:
        [B, N].

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(x=(x, "B N"), low=(low, "B"), high=(high, "B"), length=(length, "B"))
    B, N = x.shape
    length = jnp.full(B, N) if length is None else length
    size = fast_length(N)
    frequency = np.linspace(0, sample_rate / 2, size // 2 + 1)
    # Edges as steep as those of an 8th-order Butterworth filter, without its delay.
    ratios = (low[:, None] / np.maximum(frequency, 1.0), frequency / high[:, None])
    gain = jnp.prod(
        jnp.stack([1 / jnp.sqrt(1 + jnp.minimum(ratio, 1e2) ** 16) for ratio in ratios]), axis=0
    )
    x = jnp.where(valid_mask(x, length), x, 0.0)
    y = jnp.fft.irfft(jnp.fft.rfft(x, n=size) * gain, n=size)[:, :N]
    y = jnp.where(valid_mask(x, length), y, 0.0)
    return match_power(y, x) if keep_level else y


def fast_length(N: int) -> int:
    """The next even size of which an FFT is quick."""
    from scipy import fft

    return 2 * fft.next_fast_len(-(-N // 2), real=True)


def add_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """A recording with noise added at a signal-to-noise ratio, on the host.

    Args:
        samples: [N].
        noise: [M] of any loudness; repeated, or cut, to N samples.
        snr_db: ratio of the powers over all samples, in dB.

    Returns:
        [N].
    """
    noise = np.resize(noise, len(samples))
    noise_power = max(np.mean(noise**2), 1e-12)
    return samples + np.sqrt(np.mean(samples**2) / noise_power / 10 ** (snr_db / 10)) * noise


def narrowband(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """A recording [N] as it is after a channel of 8 kHz, at its own rate again: float32 [N]."""
    narrow = files.resample(samples, sample_rate, TELEPHONE_RATE)
    return np.resize(files.resample(narrow, TELEPHONE_RATE, sample_rate), len(samples)).astype(
        np.float32
    )


def telephone(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    """A recording [N] as a telephone passes it on, from 300 to 3,400 Hz.

    Samples and their rate, 8 kHz.
    """
    from scipy import signal

    band = signal.butter(4, TELEPHONE_BAND, "bandpass", fs=TELEPHONE_RATE, output="sos")
    narrow = files.resample(samples, sample_rate, TELEPHONE_RATE)
    return signal.sosfilt(band, narrow), TELEPHONE_RATE
