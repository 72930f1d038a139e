"""Damage done to clean speech, keyed and on device.

Pairs to learn repair from, without a damaged copy on any disk.

Shape letters: B batch, N samples, P recordings of noise or of rooms, M samples of the longest of
them. A severity is a number [B] from 0, hardly audible, to 1, the worst that is met in practice.
What
is left of the speech keeps its place in time and its level, so that the clean waveform is what a
repair should give.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lin_jax.audio import augment, files, mixing
from lin_jax.audio.chunking import zero_padded
from lin_jax.errors import ConfigError
from lin_jax.shapes import check_floats, check_shapes

# What severity 0 and 1 mean.
SNR_DB = (25.0, -5.0)
ROOM_SECONDS = (0.1, 0.7)  # until the room is 60 dB quieter
CLIP_RMS = (4.0, 0.5)  # full scale of the recorder, in units of the clip's RMS
LOST_SHARE = (0.01, 0.2)  # of the time, in gaps
BAND_LOW_HZ = (50.0, 400.0)
BAND_HIGH_HZ = (7500.0, 2800.0)
BITS = (10.0, 3.0)  # of a sample, full scale being the clip's peak
DRIFT_DB = (1.0, 9.0)  # of gain, up and down

GAP_SECONDS = (0.005, 0.06)  # shortest and longest drop-out
GAP_SLOT = 0.005  # gaps begin and end at its multiples
NOISE_SPEED = (0.6, 1.6)  # a recorded noise at another speed is another noise
NOISE_TILT_DB = 6.0  # and so it is in another room: deviation of its level from band to band
NOISE_BANDS = 12
HUM_HZ = (45.0, 65.0)
HUM_HARMONICS = 20
TONE_HZ = (150.0, 4000.0)
TONE_PARTIALS = 6
TONE_SECONDS = (0.06, 2.0)  # from one tone to the next

KINDS = ("recorded", "coloured", "babble", "hum", "clicks", "tones")


@dataclasses.dataclass
class DegradeConfig:
    """Which damage training speech is done, and how hard; the defaults leave it as it is.

    Attributes:
        noise_prob: probability that a clip gets noise.
        snr_db: range of its signal-to-noise ratios, in dB.
        kinds: odds of each of `KINDS` of noise; "recorded" needs recordings.
        second_prob: probability that a second noise is mixed into the first.
        room_prob: probability that a clip is put in a room.
        clip_prob: probability that it is clipped.
        drop_prob: probability that it has drop-outs.
        band_prob: probability that it is limited to a band.
        quantise_prob: probability that it is quantised coarsely.
        drift_prob: probability that its gain drifts.
        severity: range of the severities of all these but noise.
        gain_db: the level of a pair is changed by up to this many dB, up or down.
        clean_prob: probability that nothing of the above but the gain is done to a clip.
    """

    noise_prob: float = 0.0
    snr_db: tuple[float, float] = (-5.0, 20.0)
    kinds: tuple[float, ...] = (0.5, 0.15, 0.1, 0.05, 0.1, 0.1)
    second_prob: float = 0.2
    room_prob: float = 0.0
    clip_prob: float = 0.0
    drop_prob: float = 0.0
    band_prob: float = 0.0
    quantise_prob: float = 0.0
    drift_prob: float = 0.0
    severity: tuple[float, float] = (0.0, 1.0)
    gain_db: float = 0.0
    clean_prob: float = 0.0

    def validate(self):
        """Raises ConfigError unless the values can work together."""
        probabilities = [
            getattr(self, field.name) for field in dataclasses.fields(self) if "_prob" in field.name
        ]
        rules = {
            "probabilities must be from 0 to 1": all(0 <= prob <= 1 for prob in probabilities),
            "snr_db must be (low, high)": self.snr_db[0] <= self.snr_db[1],
            f"kinds must be {len(KINDS)} odds, not all 0": len(self.kinds) == len(KINDS)
            and min(self.kinds) >= 0 < max(self.kinds),
            "severity must be (low, high) from 0 to 1": 0
            <= self.severity[0]
            <= self.severity[1]
            <= 1,
            "gain_db must not be negative": self.gain_db >= 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ConfigError(f"degradation cannot work as configured: {'; '.join(broken)}")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class NoisePool:
    """Recorded noises on the device.

    Attributes:
        waveform: recordings, each repeated until it fills the row [P, M].
        length: samples of each before it repeats itself [P] int.
    """

    waveform: Any
    length: Any

    @classmethod
    def of(cls, recordings) -> "NoisePool":
        """The pool of a list of waveforms [N_i]."""
        M = max(map(len, recordings))
        rows = [np.resize(np.asarray(recording, np.float32), M) for recording in recordings]
        return cls(np.stack(rows), np.array([*map(len, recordings)], np.int32))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class RoomPool:
    """Recorded room responses on the device.

    Attributes:
        response: from the direct sound on, which is one; zero past the end [P, M].
    """

    response: Any

    @classmethod
    def of(cls, recordings) -> "RoomPool":
        """The pool of a list of responses [N_i], whose loudest sample is the direct sound.

        None may be silent.
        """
        direct = [int(np.argmax(np.abs(recording))) for recording in recordings]
        rows = [
            np.asarray(recording[start:] / recording[start], np.float32)
            for recording, start in zip(recordings, direct, strict=True)
        ]
        M = max(map(len, rows))
        return cls(np.stack([zero_padded(row, M) for row in rows]))

    @classmethod
    def read(cls, folder, sample_rate: int) -> "RoomPool":
        """The pool of the audio files in a folder, at a rate in Hz.

        Raises:
            AudioError: no such folder, or a file that cannot be read.
            ConfigError: a silent file.
        """
        responses = {path: files.read(path, sample_rate)[0] for path in files.find(folder)}
        for path, response in responses.items():
            if not response.any():
                raise ConfigError(f"{path}: silent, which no room is: take it out of the folder")
        return cls.of(list(responses.values()))


def degrade(
    key,
    clean,
    pool: NoisePool | None,
    config: DegradeConfig,
    sample_rate: int,
    rooms: RoomPool | None = None,
):
    """Clean speech damaged on its way.

    Room, noise, drift, clipping, band, quantisation and drop-outs, in this order.

    Args:
        key: PRNG key; the same key gives the same damage.
        clean: waveforms [B, N].
        pool: recorded noises, or None where `config.kinds` has no odds for them.
        config: what is done, how often and how hard; static under `jax.jit`.
        sample_rate: in Hz.
        rooms: recorded room responses, of which half the rooms then are; else all are generated.

    Returns:
        damaged waveforms [B, N], and the clean ones at the level they now have [B, N].

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_floats(clean=clean)
    check_shapes(clean=(clean, "B N"))
    config.validate()
    B = len(clean)
    keys = iter(jax.random.split(key, 32))

    def draw(low, high):
        return jax.random.uniform(next(keys), (B,), minval=low, maxval=high)

    clean = augment.apply_gain(clean, draw(-config.gain_db, config.gain_db))
    touched = draw(0.0, 1.0) >= config.clean_prob
    x = clean

    def sometimes(probability, changed):
        return jnp.where(((draw(0.0, 1.0) < probability) & touched)[:, None], changed, x)

    if config.room_prob:
        in_room = reverberate(next(keys), x, draw(*config.severity), sample_rate)
        if rooms is not None:
            in_room = jnp.where(
                (draw(0.0, 1.0) < 0.5)[:, None], apply_room(next(keys), x, rooms), in_room
            )
        x = sometimes(config.room_prob, in_room)
    if config.noise_prob:
        noise = draw_noise(next(keys), clean, pool, config, sample_rate)
        x = sometimes(config.noise_prob, mixing.mix(x, noise, draw(*config.snr_db)))
    if config.drift_prob:
        x = sometimes(config.drift_prob, drift(next(keys), x, draw(*config.severity), sample_rate))
    if config.clip_prob:
        x = sometimes(config.clip_prob, clip(x, draw(*config.severity)))
    if config.band_prob:
        x = sometimes(
            config.band_prob,
            limit_band(x, draw(*config.severity), draw(*config.severity), sample_rate),
        )
    if config.quantise_prob:
        x = sometimes(config.quantise_prob, quantise(x, draw(*config.severity)))
    if config.drop_prob:
        x = sometimes(
            config.drop_prob, drop_out(next(keys), x, draw(*config.severity), sample_rate)
        )
    return x, clean


def reverberate(key, x, severity, sample_rate: int):
    """Speech [B, N] in a generated room that answers the longer the larger the severity [B]."""
    seconds = _between(ROOM_SECONDS, severity)
    length = jnp.full(x.shape[:1], x.shape[1])
    return augment.reverberate(key, x, length, seconds, sample_rate, keep_level=False)


def apply_room(key, x, rooms: RoomPool):
    """Speech [B, N], each clip in one of the recorded rooms."""
    chosen = jax.random.randint(key, (len(x),), 0, len(rooms.response))
    return mixing.convolve(x, jnp.asarray(rooms.response)[chosen])


def clip(x, severity):
    """Speech [B, N] clipped at a level that falls geometrically with the severity [B].

    `CLIP_RMS` has its range.
    """
    ceiling = CLIP_RMS[0] * (CLIP_RMS[1] / CLIP_RMS[0]) ** severity[:, None] * mixing.rms(x)
    return jnp.clip(x, -ceiling, ceiling)


def drop_out(key, x, severity, sample_rate: int):
    """Speech [B, N] with gaps of silence, as of lost packets, for about `LOST_SHARE` of the time."""
    B, N = x.shape
    slot = round(GAP_SLOT * sample_rate)
    shortest, longest = (round(seconds / GAP_SLOT) for seconds in GAP_SECONDS)
    start_key, width_key = jax.random.split(key)
    slots = -(-N // slot)
    # A slot is lost if a gap begins in it or so recently that the gap still lasts.
    chance = -jnp.log1p(-_between(LOST_SHARE, severity)) / ((shortest + longest) / 2)
    begins = jax.random.uniform(start_key, (B, slots)) < chance[:, None]
    width = begins * jax.random.randint(width_key, (B, slots), shortest, longest + 1)
    lost = jnp.zeros((B, slots), bool)
    for late in range(longest):
        lost |= jnp.pad(width, ((0, 0), (late, 0)))[:, :slots] > late
    return jnp.where(jnp.repeat(lost, slot, axis=1)[:, :N], 0.0, x)


def limit_band(x, low_severity, high_severity, sample_rate: int):
    """Speech [B, N] without what lies below one and above another frequency.

    Each has a severity [B] of its own.
    """
    low, high = _between(BAND_LOW_HZ, low_severity), _between(BAND_HIGH_HZ, high_severity)
    return mixing.limit_band(x, low, high, sample_rate, keep_level=False)


def quantise(x, severity):
    """Speech [B, N] in steps of so many bits, `BITS`, a fraction of one included."""
    steps = 2 ** (_between(BITS, severity)[:, None] - 1)
    peak = jnp.maximum(jnp.abs(x).max(axis=-1, keepdims=True), 1e-9)
    return jnp.round(x / peak * steps) / steps * peak


def drift(key, x, severity, sample_rate: int):
    """Speech [B, N] whose gain goes up and down by `DRIFT_DB` dB, slowly, about its level."""
    B, N = x.shape
    rate_key, phase_key = jax.random.split(key)
    t = np.arange(N) / sample_rate
    rate = jax.random.uniform(rate_key, (B, 1), minval=0.1, maxval=1.5)  # Hz
    phase = jax.random.uniform(phase_key, (B, 1), maxval=2 * np.pi)
    gain_db = _between(DRIFT_DB, severity)[:, None] * jnp.sin(2 * np.pi * rate * t + phase)
    return x * 10 ** (gain_db / 20)


# Each kind of damage but noise, as (key, speech [B, N], severity [B], sample rate) → [B, N].
DAMAGES = {
    "room": reverberate,
    "clipping": lambda key, x, severity, sample_rate: clip(x, severity),
    "drop-outs": drop_out,
    "band limit": lambda key, x, severity, sample_rate: limit_band(
        x, severity, severity, sample_rate
    ),
    "quantisation": lambda key, x, severity, sample_rate: quantise(x, severity),
    "drift": drift,
}


def draw_noise(key, clean, pool: NoisePool | None, config: DegradeConfig, sample_rate: int):
    """Noise of level 1 for each clip [B, N], with swells, of a kind drawn by the config's odds.

    Babble is made of the other clips of the batch.
    """
    B, N = clean.shape
    odds = np.asarray(config.kinds, np.float32)
    if odds[0] and pool is None:
        raise ConfigError(
            "recorded noise has odds but there are no recordings: pass some or set its odds to 0"
        )
    keys = dict(
        zip(("kind", "second", "swell", *KINDS), jax.random.split(key, 3 + len(KINDS)), strict=True)
    )
    make: dict[str, Callable] = {
        "coloured": lambda key: shape_noise(key, mixing.coloured_noise(key, B, N)),
        "babble": lambda key: mixing.babble(key, clean),
        "hum": lambda key: hum(key, B, N, sample_rate),
        "clicks": lambda key: clicks(key, B, N, sample_rate),
        "tones": lambda key: tones(key, B, N, sample_rate),
    }
    if pool is not None:
        make["recorded"] = functools.partial(recorded_noise, pool=pool, B=B, N=N)
    there = [i for i in range(len(KINDS)) if odds[i]]
    sounds = jnp.stack(
        [mixing.normalise_rms(make[KINDS[i]](keys[KINDS[i]])) for i in there]
    )  # [kinds, B, N]
    other_key, prob_key, gain_key = jax.random.split(keys["second"], 3)
    first, second = (
        sounds[jax.random.categorical(key, np.log(odds[there]), shape=(B,)), jnp.arange(B)]
        for key in (keys["kind"], other_key)
    )
    second = jnp.roll(second, 1, axis=0)  # of another clip: two noises of a kind are different ones
    gain = 10 ** (jax.random.uniform(gain_key, (B,), minval=-10.0, maxval=5.0) / 20)
    gain *= jax.random.uniform(prob_key, (B,)) < config.second_prob
    return mixing.normalise_rms(swell(keys["swell"], first + gain[:, None] * second, sample_rate))


def recorded_noise(key, pool: NoisePool, B: int, N: int):
    """Pieces [B, N] from anywhere in recordings, at another speed and spectrum, or backwards.

    A recording that ends goes on from its start.
    """
    which_key, start_key, speed_key, way_key, shape_key = jax.random.split(key, 5)
    which = jax.random.randint(which_key, (B, 1), 0, len(pool.length))
    length = jnp.asarray(pool.length)[which]
    start = jnp.floor(jax.random.uniform(start_key, (B, 1)) * length)
    speed = jnp.exp(
        jax.random.uniform(
            speed_key, (B, 1), minval=np.log(NOISE_SPEED[0]), maxval=np.log(NOISE_SPEED[1])
        )
    )
    speed *= jax.random.rademacher(way_key, (B, 1))
    place = jnp.mod(start + jnp.arange(N) * speed, length)
    before = jnp.floor(place)
    share, before = place - before, before.astype(jnp.int32)
    samples = jnp.asarray(pool.waveform)
    after = jnp.where(before + 1 < length, before + 1, 0)
    sound = (1 - share) * samples[which, before] + share * samples[which, after]
    return shape_noise(shape_key, sound)


def shape_noise(key, noise):
    """Noise [B, N] through a random filter, smooth over the logarithm of the frequency."""
    B, N = noise.shape
    size = mixing.fast_length(N)
    place = np.clip(np.log2(np.linspace(1e-3, 1, size // 2 + 1)) + 7, 0, 7) / 7 * (NOISE_BANDS - 1)
    weights = np.maximum(0, 1 - np.abs(place - np.arange(NOISE_BANDS)[:, None])).astype(
        np.float32
    )  # [bands, F]
    gain = 10 ** (NOISE_TILT_DB / 20 * jax.random.normal(key, (B, NOISE_BANDS)) @ weights)
    return jnp.fft.irfft(jnp.fft.rfft(noise, n=size) * gain, n=size)[:, :N]


def hum(key, B: int, N: int, sample_rate: int):
    """Mains and motors: a steady low tone [B, N] with harmonics of any strength."""
    pitch_key, gain_key, phase_key = jax.random.split(key, 3)
    low, high = HUM_HZ
    multiple = jnp.exp(jax.random.uniform(pitch_key, (B, 1), maxval=np.log(8.0)))  # up to a whine
    cycles = multiple * jax.random.uniform(
        jax.random.fold_in(pitch_key, 1), (B, 1), minval=low, maxval=high
    )
    phase = 2 * np.pi * jnp.mod(cycles / sample_rate * jnp.arange(N), 1.0)
    steepness = jax.random.uniform(jax.random.fold_in(gain_key, 1), (B, 1), minval=0.0, maxval=1.5)
    k = np.arange(1, HUM_HARMONICS + 1)
    gain = jax.random.exponential(gain_key, (B, HUM_HARMONICS)) * k**-steepness
    shift = jax.random.uniform(phase_key, (B, HUM_HARMONICS), maxval=2 * np.pi)
    gain *= cycles * k < sample_rate / 2
    # Chebyshev's recurrence makes each harmonic of the one before, without another sine.
    cosine, sine = jnp.cos(phase), jnp.sin(phase)
    total, real, imaginary = jnp.zeros((B, N)), cosine, sine
    for i in range(HUM_HARMONICS):
        a, b = gain[:, i] * jnp.cos(shift[:, i]), gain[:, i] * jnp.sin(shift[:, i])
        total += a[:, None] * real + b[:, None] * imaginary
        real, imaginary = real * cosine - imaginary * sine, imaginary * cosine + real * sine
    return total


def clicks(key, B: int, N: int, sample_rate: int):
    """Crackle, keys and knocks [B, N].

    Bursts of noise at random moments that die away in 0.1 to 30 ms.
    """
    rate_key, moment_key, size_key, noise_key, decay_key = jax.random.split(key, 5)
    rate = 10 ** jax.random.uniform(rate_key, (B, 1), minval=0.0, maxval=2.0)  # a second
    bits = jax.random.uniform(moment_key, (B, N))
    struck = (bits < rate / sample_rate) * (0.2 + jax.random.exponential(size_key, (B, 1)))
    struck = struck.at[:, N // 3].add(1.0)  # never none at all
    seconds = 10 ** jax.random.uniform(decay_key, (B, 1), minval=-4.0, maxval=-1.5)
    R = round(0.1 * sample_rate)
    size = mixing.fast_length(N + R)
    decay = jnp.exp(-np.arange(R) / sample_rate / seconds)
    strength = jnp.fft.irfft(jnp.fft.rfft(struck, n=size) * jnp.fft.rfft(decay, n=size), n=size)[
        :, :N
    ]
    return strength * mixing.coloured_noise(noise_key, B, N)


def tones(key, B: int, N: int, sample_rate: int):
    """Bells, alarms, dialling, sirens, birds [B, N].

    Tones of a few partials that begin again, die away and waver.
    """
    keys = iter(jax.random.split(key, 24))

    def draw(low, high, *shape):
        return jax.random.uniform(next(keys), (B, *(shape or (1,))), minval=low, maxval=high)

    def draw_log(low, high):
        return jnp.exp(draw(np.log(low), np.log(high)))

    def for_some(share, value):  # and 0 for the others
        return jnp.where(draw(0.0, 1.0) < share, value, 0.0)

    t = np.arange(N) / sample_rate
    period = draw_log(*TONE_SECONDS)
    since = t / period + draw(0.0, 1.0)
    number = jnp.floor(since).astype(jnp.int32)  # of the tone, which may have a pitch of its own
    since = (since - number) * period  # s
    sounds = (since < period * draw(0.3, 1.2)) * jnp.minimum(since / 0.003, 1.0)
    sounds *= jnp.exp(-since * for_some(0.6, 1 / draw_log(0.03, 1.0)))
    melody = for_some(0.5, 0.4) * jax.random.normal(
        next(keys), (B, int(N / sample_rate / TONE_SECONDS[0]) + 2)
    )
    waver = for_some(0.4, draw(0.0, 0.5)) * jnp.sin(
        2 * np.pi * (draw_log(0.2, 20.0) * t + draw(0.0, 1.0))
    )
    pitch = draw_log(*TONE_HZ) * jnp.exp(
        jnp.take_along_axis(melody, number, axis=1) + waver
    )  # Hz [B, N]
    cycles = jnp.cumsum(pitch / sample_rate, axis=1)

    k = np.arange(TONE_PARTIALS)
    ratio = 1 + k * (1 + for_some(0.5, draw(-0.5, 0.5, TONE_PARTIALS)))  # a half of them harmonic
    gain = jax.random.exponential(next(keys), (B, TONE_PARTIALS)) * (1 + k) ** -draw(0.0, 2.0)
    shift = draw(0.0, 1.0, TONE_PARTIALS)
    total = 1e-6 * sounds  # a tone that is too high for the sample rate is not divided by 0
    for i in k:
        audible = gain[:, i : i + 1] * (ratio[:, i : i + 1] * pitch < 0.48 * sample_rate)
        total += (
            audible
            * sounds
            * jnp.sin(2 * np.pi * jnp.mod(ratio[:, i : i + 1] * cycles + shift[:, i : i + 1], 1.0))
        )
    return total


def swell(key, noise, sample_rate: int):
    """Noise [B, N] that swells and fades, for a half of the clips hardly and for some strongly."""
    B, N = noise.shape
    depth_key, rate_key, phase_key = jax.random.split(key, 3)
    t = np.arange(N) / sample_rate
    depth = 2.0 * jax.random.uniform(depth_key, (B, 1)) ** 3
    rate = 10 ** jax.random.uniform(rate_key, (B, 1), minval=-1.0, maxval=1.0)  # Hz
    phase = jax.random.uniform(phase_key, (B, 1), maxval=2 * np.pi)
    return noise * jnp.exp(depth * jnp.sin(2 * np.pi * rate * t + phase))


def _between(ends, severity):
    """The value at a severity [B] between those at 0 and 1."""
    return ends[0] + (ends[1] - ends[0]) * severity
