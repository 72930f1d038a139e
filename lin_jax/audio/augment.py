"""Keyed augmentation of waveforms and features, on device, inside the train step.

Shape letters: B batch, N samples, T frames, F frequency bins, D features. Shapes are static: what
grows past N is cut, what shrinks is followed by zeros and a smaller length. Every example of a
batch draws its own randomness.
"""

import dataclasses
import fractions

import jax
import jax.numpy as jnp
import numpy as np

from lin_jax.audio import mixing
from lin_jax.audio.frontend import istft, stft
from lin_jax.errors import ConfigError
from lin_jax.shapes import check_floats, check_shapes

# A room answers for up to this long; its first reflection comes after a few milliseconds; a band
# ends softly.
ROOM_SECONDS = 0.5
ROOM_DELAY = 0.003
ROOM_RATIO_DB = (-3.0, 12.0)  # direct sound to reverberation: from across the room to close by
BAND_LOW_HZ = (50.0, 400.0)  # of telephones, cheap microphones and loudspeakers
BAND_HIGH_HZ = (2800.0, 7500.0)

# Pitch is shifted in frames of 1024 samples, long enough at 16 kHz to tell the harmonics of a deep
# voice apart.
PITCH_FFT = 1024
PITCH_HOP = 256

EQUALISER_POINTS = 6


@dataclasses.dataclass
class AugmentConfig:
    """How training examples are varied; the defaults leave them as they are.

    Attributes:
        noise_prob: probability that an example gets noise.
        noise_snr_db: range of signal-to-noise ratios, in dB.
        babble_prob: probability that an example gets other voices of the batch behind it.
        babble_snr_db: range of ratios of its own voice to the others, in dB.
        background_prob: probability that an example gets one of the batch's backgrounds behind it.
        background_snr_db: range of ratios of the example to its background, in dB.
        room_prob: probability that an example is put in a room.
        room_seconds: range of reverberation times, until the room is 60 dB quieter.
        band_prob: probability that an example is limited to a band such as a telephone's.
        speed: range of playback speeds, which change tempo and pitch together.
        pitch_semitones: pitch is shifted by up to this many semitones, up or down.
        shift_seconds: the clip is moved by up to this many seconds, earlier or later.
        gain_db: loudness is changed by up to this many dB, up or down.
        tempo: range of factors by which the frames of a clip are played faster.
        frequency_warp: range of factors by which log-mel frequencies are multiplied: another vocal
            tract and pitch.
        mean_removal_prob: probability that the mean of a clip's frames is subtracted from them:
            another microphone.
        equaliser: standard deviation of the gains of `EQUALISER_POINTS` points over the mel bands, in
            units of the features, drawn for each clip: another microphone, of which less is lost.
        level: standard deviation of one offset added to all features of a clip, in units of the
            features.
        freq_masks: how many bands of features are masked.
        freq_mask_width: widest band masked, in features.
        time_masks: how many stretches of time are masked.
        time_mask_width: longest stretch masked, in frames; never more than half the clip.
    """

    noise_prob: float = 0.0
    noise_snr_db: tuple[float, float] = (5.0, 25.0)
    babble_prob: float = 0.0
    babble_snr_db: tuple[float, float] = (8.0, 20.0)
    background_prob: float = 0.0
    background_snr_db: tuple[float, float] = (0.0, 20.0)
    room_prob: float = 0.0
    room_seconds: tuple[float, float] = (0.1, 0.7)
    band_prob: float = 0.0
    speed: tuple[float, float] = (1.0, 1.0)
    pitch_semitones: float = 0.0
    shift_seconds: float = 0.0
    gain_db: float = 0.0
    tempo: tuple[float, float] = (1.0, 1.0)
    frequency_warp: tuple[float, float] = (1.0, 1.0)
    mean_removal_prob: float = 0.0
    equaliser: float = 0.0
    level: float = 0.0
    freq_masks: int = 0
    freq_mask_width: int = 8
    time_masks: int = 0
    time_mask_width: int = 20

    @property
    def of_waveforms(self) -> "AugmentConfig":
        """What is done to waveforms.

        Of functionals, which have no order, nothing can be warped or masked.
        """
        none = AugmentConfig()
        features = (
            "tempo",
            "frequency_warp",
            "mean_removal_prob",
            "equaliser",
            "level",
            "freq_masks",
            "time_masks",
        )
        return dataclasses.replace(self, **{name: getattr(none, name) for name in features})

    def validate(self):
        """Raises ConfigError unless the values can work together."""
        rules = {
            "probabilities must be from 0 to 1": all(
                0 <= prob <= 1
                for prob in (
                    self.noise_prob,
                    self.babble_prob,
                    self.background_prob,
                    self.room_prob,
                    self.band_prob,
                    self.mean_removal_prob,
                )
            ),
            "noise_snr_db, babble_snr_db and background_snr_db must be (low, high)": all(
                low <= high
                for low, high in (self.noise_snr_db, self.babble_snr_db, self.background_snr_db)
            ),
            "room_seconds, speed, tempo and frequency_warp must be (low, high), above 0": all(
                0 < low <= high
                for low, high in (self.room_seconds, self.speed, self.tempo, self.frequency_warp)
            ),
            "ranges, counts and widths must not be negative": min(
                self.pitch_semitones,
                self.shift_seconds,
                self.gain_db,
                self.equaliser,
                self.level,
                self.freq_masks,
                self.freq_mask_width,
                self.time_masks,
                self.time_mask_width,
            )
            >= 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ConfigError(f"augmentation cannot work as configured: {'; '.join(broken)}")


def augment_waveform(
    key, config: AugmentConfig, waveform, length, sample_rate: int, is_background=None
):
    """Waveforms varied by speed, pitch, shift, room, babble, background, noise, band and gain.

    They are varied in this order.

    Args:
        key: PRNG key; the same key gives the same result.
        config: what is varied and how far; static under `jax.jit`.
        waveform: [B, N].
        length: valid samples, [B] int.
        sample_rate: in Hz.
        is_background: which examples may be put behind others, [B] bool; none when None.

    Returns:
        waveform [B, N] and length [B]. Samples at or past the length do not matter.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_floats(waveform=waveform)
    check_shapes(
        waveform=(waveform, "B N"), length=(length, "B"), is_background=(is_background, "B")
    )
    config.validate()
    keys = iter(jax.random.split(key, 32))

    def draw(low, high):
        return jax.random.uniform(next(keys), length.shape, minval=low, maxval=high)

    def sometimes(probability, changed):
        return jnp.where((draw(0.0, 1.0) < probability)[:, None], changed, waveform)

    if tuple(config.speed) != (1.0, 1.0):
        waveform, length = change_speed(waveform, length, draw(*config.speed))
    if config.pitch_semitones:
        waveform = shift_pitch(
            waveform, length, draw(-config.pitch_semitones, config.pitch_semitones)
        )
    if config.shift_seconds:
        seconds = draw(-config.shift_seconds, config.shift_seconds)
        waveform = shift_time(waveform, length, jnp.round(seconds * sample_rate).astype(jnp.int32))
    if config.room_prob:
        in_room = reverberate(next(keys), waveform, length, draw(*config.room_seconds), sample_rate)
        waveform = sometimes(config.room_prob, in_room)
    if config.babble_prob:
        among_others = add_babble(next(keys), waveform, draw(*config.babble_snr_db), length)
        waveform = sometimes(config.babble_prob, among_others)
    if config.background_prob and is_background is not None:
        in_front = add_background(
            next(keys), waveform, draw(*config.background_snr_db), length, is_background
        )
        waveform = sometimes(config.background_prob, in_front)
    if config.noise_prob:
        noisy = add_noise(next(keys), waveform, draw(*config.noise_snr_db), length)
        waveform = sometimes(config.noise_prob, noisy)
    if config.band_prob:
        narrow = mixing.limit_band(
            waveform, draw(*BAND_LOW_HZ), draw(*BAND_HIGH_HZ), sample_rate, length
        )
        waveform = sometimes(config.band_prob, narrow)
    if config.gain_db:
        waveform = apply_gain(waveform, draw(-config.gain_db, config.gain_db))
    return waveform, length


def add_noise(key, x, snr_db, length):
    """Speech in steady noise, of a colour drawn for each example between white and brown.

    Args:
        key: PRNG key.
        x: waveforms [B, N].
        snr_db: ratio of signal to noise power over the valid samples in dB, [B].
        length: valid samples, [B] int; beyond them no noise is added.

    Returns:
        [B, N].
    """
    return mixing.mix(x, mixing.coloured_noise(key, *x.shape), snr_db, length)


def add_babble(key, x, snr_db, length):
    """Speech with the voices of other examples of the batch behind it.

    Args:
        key: PRNG key.
        x: waveforms [B, N].
        snr_db: ratio of the own voice to the others together over the valid samples in dB, [B].
        length: valid samples, [B] int; beyond them no voice is added.

    Returns:
        [B, N].
    """
    return mixing.mix(x, mixing.babble(key, x, length), snr_db, length)


def add_background(key, x, snr_db, length, is_background):
    """Examples with one of the batch's backgrounds behind them, over and over where it is shorter.

    Args:
        key: PRNG key.
        x: waveforms [B, N].
        snr_db: ratio of the example to its background over the valid samples in dB, [B].
        length: valid samples, [B] int; beyond them nothing is added.
        is_background: which examples are backgrounds, [B] bool; where none is, nothing is added.

    Returns:
        [B, N].
    """
    B, N = x.shape
    which_key, start_key = jax.random.split(key)
    chosen = jax.random.categorical(which_key, jnp.where(is_background, 0.0, -jnp.inf), shape=(B,))
    start = jax.random.randint(start_key, (B, 1), 0, N)
    position = (start + jnp.arange(N)) % jnp.maximum(length[chosen], 1)[:, None]
    background = jnp.where(is_background.any(), x[chosen[:, None], position], 0.0)
    return mixing.mix(x, background, snr_db, length)


def reverberate(key, x, length, seconds, sample_rate: int, *, keep_level: bool = True):
    """Speech in a room: the direct sound, and reflections as noise that decays exponentially.

    The statistical model of J.-D. Polack, as in M. Kleiner et al., "Auralization", J. AES 41(11),
    1993. What reverberates past the end of the valid samples is cut.

    Args:
        key: PRNG key.
        x: waveforms [B, N].
        length: valid samples, [B] int.
        seconds: until the room is 60 dB quieter, [B].
        sample_rate: in Hz.
        keep_level: keep the power over the valid samples; else the direct sound is what it was.

    Returns:
        [B, N].
    """
    B = len(x)
    noise_key, ratio_key = jax.random.split(key)
    R = round(ROOM_SECONDS * sample_rate)
    t = np.arange(R) / sample_rate
    tail = jax.random.uniform(noise_key, (B, R), minval=-1.0) * jnp.exp(
        -np.log(1e3) * t / seconds[:, None]
    )
    tail = jnp.where(t < ROOM_DELAY, 0.0, tail)
    ratio = jax.random.uniform(ratio_key, (B, 1), minval=ROOM_RATIO_DB[0], maxval=ROOM_RATIO_DB[1])
    tail *= 10 ** (-ratio / 20) / jnp.linalg.norm(tail, axis=-1, keepdims=True)
    x = jnp.where(mixing.valid_mask(x, length), x, 0.0)
    y = jnp.where(mixing.valid_mask(x, length), mixing.convolve(x, tail.at[:, 0].add(1.0)), 0.0)
    return mixing.match_power(y, x) if keep_level else y


def change_speed(x, length, rate):
    """Recordings played faster or slower, pitch and tempo together.

    At twice the sample rate, samples are read between the grid by cubic interpolation (R. Keys,
    "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981); without
    the doubling it would dull all above 2 kHz of 16. What is sped up past half the sample rate
    folds back.

    Args:
        x: waveforms [B, N].
        length: valid samples, [B] int.
        rate: speed of each, [B]; 1.1 is 10 % faster and shorter.

    Returns:
        waveforms [B, N], cut at N where slowed past it, and their lengths [B].
    """
    N = x.shape[-1]
    doubled = _double_rate(jnp.where(mixing.valid_mask(x, length), x, 0.0))  # [B, 2N]
    grid = 2 * jnp.arange(N)
    # Apart from the grid, as float32 has too few digits for their sum.
    drift = grid * (rate[:, None] - 1)
    before = grid + jnp.floor(drift).astype(jnp.int32)  # [B, N]
    t = drift - jnp.floor(drift)

    def neighbour(offset):
        index = before + offset
        inside = (index >= 0) & (index < 2 * N)
        return jnp.where(
            inside, jnp.take_along_axis(doubled, jnp.clip(index, 0, 2 * N - 1), axis=-1), 0.0
        )

    a, b, c, d = (neighbour(offset) for offset in (-1, 0, 1, 2))
    y = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    length = jnp.clip(jnp.ceil(length / rate), 0, N).astype(jnp.int32)
    return jnp.where(mixing.valid_mask(x, length), y, 0.0), length


def _double_rate(x):
    """Waveforms [B, N] at twice their sample rate, [B, 2N], by a windowed sinc of 16 taps."""
    B, N = x.shape
    taps = np.sinc(np.arange(16) - 7.5) * np.kaiser(16, 5)
    padded = jnp.pad(x, ((0, 0), (7, 8)))
    between = sum(tap * padded[:, k : k + N] for k, tap in enumerate((taps / taps.sum()).tolist()))
    return jnp.stack([x, between], axis=-1).reshape(B, 2 * N)


def shift_pitch(x, length, semitones):
    """Voices raised or lowered at unchanged tempo.

    The formants move along, as if the speaker were smaller or larger.

    A phase vocoder in the manner of J. Laroche and M. Dolson, "New phase-vocoder techniques for
    pitch-shifting, harmonizing and other exotic effects", WASPAA 1999: every bin is moved to its
    new place, and turned from frame to frame by the difference between its new and its old
    frequency, which its phase gives away.

    Args:
        x: waveforms [B, N].
        length: valid samples, [B] int.
        semitones: shift of each, [B]; 12 is an octave up.

    Returns:
        [B, N].
    """
    bins = jnp.arange(PITCH_FFT // 2 + 1)
    # Seen from the middle of the frame, not its start, the bins around a tone are in phase and stay
    # so when moved.
    from_middle = (-1.0) ** bins
    x = jnp.where(mixing.valid_mask(x, length), x, 0.0)
    spectrum = stft(x, PITCH_FFT, PITCH_HOP, PITCH_FFT) * from_middle  # [B, T, F]
    ratio = 2.0 ** (semitones / 12)[:, None, None]
    source = bins / ratio  # [B, 1, F], where each bin comes from, between bins
    below = jnp.minimum(jnp.floor(source), bins[-2]).astype(jnp.int32)
    low, high = (jnp.take_along_axis(spectrum, index, axis=-1) for index in (below, below + 1))
    moved = jnp.where(source <= bins[-1], low + (source - below) * (high - low), 0.0)

    # Per hop, of a tone in the middle of the bin.
    turn_of_centre = 2 * np.pi * PITCH_HOP / PITCH_FFT * source[:, 0]

    def turn_on(carry, frame):  # frame [B, F]
        previous, phase = carry
        off_centre = _angle(frame * previous.conj() * jnp.exp(-1j * turn_of_centre))
        phase = phase + (turn_of_centre + off_centre) * (ratio[:, 0] - 1)
        phase -= 2 * np.pi * jnp.round(phase / (2 * np.pi))
        return (frame, phase), frame * jax.lax.complex(jnp.cos(phase), jnp.sin(phase))

    frames = jnp.moveaxis(moved, 1, 0)
    _, turned = jax.lax.scan(turn_on, (frames[0], jnp.zeros(frames.shape[1:])), frames)
    shifted = istft(jnp.moveaxis(turned, 0, 1) * from_middle, PITCH_HOP, PITCH_FFT, x.shape[-1])
    return jnp.where(mixing.valid_mask(x, length), shifted, 0.0)


def _angle(z):
    """Phase of complex z to 1e-5 rad, fifteen times as fast as `jnp.angle` on CPU.

    M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions", 1964, 4.4.47.
    """
    x, y = jnp.abs(z.real), jnp.abs(z.imag)
    t = jnp.minimum(x, y) / jnp.maximum(jnp.maximum(x, y), 1e-30)
    angle = t * jnp.polyval(
        jnp.array([0.0208351, -0.0851330, 0.1801410, -0.3302995, 0.9998660]), t**2
    )
    angle = jnp.where(y > x, np.pi / 2 - angle, angle)
    angle = jnp.where(z.real < 0, np.pi - angle, angle)
    return jnp.where(z.imag < 0, -angle, angle)


def shift_time(x, length, samples):
    """Clips moved later by `samples` [B], or earlier if negative.

    What leaves is lost and what enters is silence.
    """
    N = x.shape[-1]
    source = jnp.arange(N) - samples[:, None]
    inside = (source >= 0) & (source < length[:, None]) & mixing.valid_mask(x, length)
    return jnp.where(inside, jnp.take_along_axis(x, jnp.clip(source, 0, N - 1), axis=-1), 0.0)


def apply_gain(x, gain_db):
    """Waveforms [B, N] made louder by `gain_db` [B] dB."""
    return x * 10 ** (gain_db[:, None] / 20)


def augment_features(key, config: AugmentConfig, features, num_frames, centres=None):
    """Features varied by tempo, frequency, mean, equaliser, level, and masks, in this order.

    The warps do to log-mel frames what `change_speed` does to samples, each apart and at a fraction
    of the cost.

    Args:
        key: PRNG key.
        config: what is varied and how far; static under `jax.jit`.
        features: [B, T, D].
        num_frames: valid frames, [B] int.
        centres: of the mel bands [M], in Hz, for `frequency_warp`, where M is D.

    Returns:
        features [B, T, D] and num_frames [B]; frames at or past `num_frames` do not matter.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(features=(features, "B T D"), num_frames=(num_frames, "B"), centres=(centres, "M"))
    config.validate()
    warp_key, tempo_key, mean_key, level_key, mask_key, gain_key = jax.random.split(key, 6)
    B = features.shape[0]
    if tuple(config.frequency_warp) != (1.0, 1.0):
        low, high = config.frequency_warp
        features = warp_frequency(
            features, jax.random.uniform(warp_key, (B,), minval=low, maxval=high), centres
        )
    if tuple(config.tempo) != (1.0, 1.0):
        low, high = config.tempo
        features, num_frames = change_tempo(
            features, num_frames, jax.random.uniform(tempo_key, (B,), minval=low, maxval=high)
        )
    if config.mean_removal_prob:
        removed = jax.random.bernoulli(mean_key, config.mean_removal_prob, (B, 1, 1))
        features = jnp.where(removed, remove_mean(features, num_frames), features)
    if config.equaliser:
        gains = jax.random.normal(gain_key, (B, EQUALISER_POINTS))
        features = equalise(features, config.equaliser * gains)
    if config.level:
        features = features + config.level * jax.random.normal(level_key, (B, 1, 1))
    return mask_features(mask_key, config, features, num_frames), num_frames


def room(size, factor: float):
    """Samples or frames to append to `size` (int or symbolic), which becomes `factor` as long."""
    growth = fractions.Fraction(factor - 1).limit_denominator(1000)
    return -(-size * growth.numerator // growth.denominator) if growth > 0 else 0


def change_tempo(features, num_frames, rate):
    """Frames [B, T, D] of clips played `rate` [B] times as fast, interpolated.

    And their number, at most T.
    """
    T = features.shape[1]
    last = num_frames[:, None] - 1
    source = jnp.minimum(jnp.arange(T) * rate[:, None], last)  # [B, T]
    below = jnp.floor(source).astype(jnp.int32)
    low, high = (
        jnp.take_along_axis(features, jnp.minimum(index, last)[..., None], axis=1)
        for index in (below, below + 1)
    )
    share = (source - below)[..., None]
    faster = jnp.ceil(num_frames / rate).astype(jnp.int32)
    return low + share * (high - low), jnp.clip(faster, 1, T)


def warp_frequency(features, factor, centres):
    """Log-mel frames [B, T, D] with every frequency multiplied by `factor` [B].

    Values between bands are interpolated.

    N. Jaitly and G. Hinton, "Vocal tract length perturbation (VTLP) improves speech recognition",
    ICML workshop 2013, without the kink at the top: what would come from outside the bands is the
    outermost one, repeated.
    """
    D = features.shape[-1]
    wanted, centres = centres / factor[:, None], jnp.asarray(centres)  # [B, D]
    # The search of `jnp.interp` is a loop, which ONNX does not hold.
    below = jnp.clip((wanted[..., None] >= centres).sum(axis=-1) - 1, 0, D - 2)
    low, high = centres[below], centres[below + 1]
    source = (below + (wanted - low) / (high - low)).clip(0, D - 1)  # [B, D]
    weights = jnp.maximum(
        0.0, 1.0 - jnp.abs(source[..., None] - jnp.arange(D))
    )  # [B, D to, D from]
    return jnp.einsum("btd,bed->bte", features, weights)


def remove_mean(features, num_frames):
    """Features [B, T, D] without the mean of their valid frames.

    That takes away what room and microphone add.

    B. S. Atal, "Effectiveness of linear prediction characteristics of the speech wave for automatic
    speaker identification and verification", J. Acoust. Soc. Am. 55, 1974: cepstral mean
    normalisation.
    """
    return features - _mean(features, num_frames)


def equalise(features, gains):
    """Log-mel frames [B, T, D] with gains added that are straight lines between P points.

    H. Nam, S.-H. Kim and Y.-H. Park, "FilterAugment: an acoustic environmental data augmentation
    method", ICASSP 2022, its linear kind, with the points evenly apart.

    Args:
        features: [B, T, D].
        gains: at each point [B, P]; the first is at the lowest band, the last at the highest.
    """
    D, P = features.shape[-1], gains.shape[-1]
    distance = np.abs(np.arange(P)[:, None] - np.linspace(0, P - 1, D))  # [P, D]
    return features + (gains @ np.maximum(1 - distance, 0).astype(features.dtype))[:, None]


def mask_features(key, config: AugmentConfig, features, num_frames):
    """Features [B, T, D] with bands and stretches of time replaced by the clip's mean.

    D. S. Park et al., "SpecAugment: a simple data augmentation method for automatic speech
    recognition", Interspeech 2019, without the time warp.
    """
    B, T, D = features.shape
    freq_key, time_key = jax.random.split(key)
    valid = jnp.arange(T) < num_frames[:, None]  # [B, T]
    bands = _masks(
        freq_key, config.freq_masks, config.freq_mask_width, jnp.full((B,), D), D
    )  # [B, D]
    width = jnp.minimum(config.time_mask_width, num_frames // 2)
    stretches = _masks(time_key, config.time_masks, width, num_frames, T)  # [B, T]
    masked = (bands[:, None, :] | stretches[:, :, None]) & valid[:, :, None]
    return jnp.where(masked, _mean(features, num_frames), features)


def _mean(features, num_frames):
    """Mean [B, 1, D] over the valid frames of features [B, T, D]."""
    valid = jnp.arange(features.shape[1]) < num_frames[:, None]  # [B, T]
    total = jnp.sum(features, axis=1, keepdims=True, where=valid[..., None])
    return total / jnp.maximum(num_frames, 1)[:, None, None]


def _masks(key, count: int, width, size, N: int):
    """Union of `count` intervals of up to `width` within [0, `size` [B]): bool [B, N]."""
    width_key, start_key = jax.random.split(key)
    shape = (*size.shape, count)
    widths = jnp.floor(
        jax.random.uniform(width_key, shape) * (jnp.broadcast_to(width, size.shape)[:, None] + 1)
    )
    starts = jnp.floor(jax.random.uniform(start_key, shape) * (size[:, None] - widths + 1))
    position = jnp.arange(N)[:, None]  # [N, 1]
    inside = (position >= starts[:, None]) & (
        position < (starts + widths)[:, None]
    )  # [B, N, count]
    return inside.any(axis=-1)
