"""Augmentation: each change is what it says, keyed, and different for every example."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lin_jax.audio import augment, mixing
from lin_jax.audio.augment import AugmentConfig, augment_features, augment_waveform
from lin_jax.audio.frontend import FrontendConfig, mel_centres
from lin_jax.errors import ConfigError

RATE, N = 16000, 16000
KEY = jax.random.key(0)
EVERYTHING = AugmentConfig(
    noise_prob=0.5,
    speed=(0.9, 1.1),
    pitch_semitones=2.0,
    shift_seconds=0.1,
    gain_db=6.0,
    freq_masks=2,
    time_masks=2,
)


def tone(*hz, n=N, amplitude=0.3):
    """One row for each frequency: [len(hz), n]."""
    return (amplitude * np.sin(2 * np.pi * np.array(hz)[:, None] * np.arange(n) / RATE)).astype(
        np.float32
    )


def full(B, value=N):
    return jnp.full((B,), value)


def db(ratio):
    return 10 * np.log10(ratio)


def test_default_changes_nothing():
    x, features = (
        tone(200, 300),
        np.random.default_rng(0).normal(size=(2, 50, 8)).astype(np.float32),
    )
    waveform, length = augment_waveform(KEY, AugmentConfig(), x, full(2, 9000), RATE)
    assert waveform is x
    np.testing.assert_array_equal(length, [9000, 9000])
    np.testing.assert_array_equal(
        augment_features(KEY, AugmentConfig(), features, full(2, 40))[0], features
    )


def test_everything_is_keyed_and_per_example():
    x = np.repeat(tone(300), 4, axis=0)
    x[:, 12000:] = 9  # rubbish past the end
    run = jax.jit(
        functools.partial(
            augment_waveform, config=EVERYTHING, waveform=x, length=full(4, 12000), sample_rate=RATE
        )
    )
    (waveform, length), (again, _), (other, _) = run(KEY), run(KEY), run(jax.random.key(1))
    assert waveform.shape == x.shape
    np.testing.assert_array_equal(waveform, again)
    assert not np.allclose(waveform, other)
    assert len(set(np.asarray(length).tolist())) == 4
    assert len({row.tobytes() for row in np.asarray(waveform)}) == 4
    assert np.isfinite(waveform).all()
    assert not waveform[np.arange(N) >= length[:, None]].any()


def test_noise_has_the_ratio_asked_for_and_its_own_colour():
    B, length = 8, 12000
    x = np.repeat(tone(300), B, axis=0)
    x[:, length:] = 0
    snr = jnp.linspace(-5, 30, B)
    noise = np.asarray(jax.jit(augment.add_noise)(KEY, x, snr, full(B, length)) - x)
    np.testing.assert_allclose(db((x**2).sum(1) / (noise**2).sum(1)), snr, atol=0.01)
    assert not noise[:, length:].any()
    power = np.abs(np.fft.rfft(noise[:, :length])) ** 2
    bands = np.geomspace(60, 5000, 10).astype(int)
    levels = np.stack(
        [power[:, low:high].mean(1) for low, high in itertools.pairwise(bands)], axis=1
    )
    slopes = -np.polyfit(np.log(np.sqrt(bands[:-1] * bands[1:])), np.log(levels).T, 1)[0]
    assert slopes.min() > -0.3
    assert slopes.max() < 2.3
    assert np.ptp(slopes) > 0.5
    kurtosis = (
        np.mean(noise[:, :length] ** 4, axis=1) / np.mean(noise[:, :length] ** 2, axis=1) ** 2
    )
    np.testing.assert_allclose(kurtosis, 3, atol=0.5)  # as of a Gaussian


def test_silence_gets_no_noise():
    assert not augment.add_noise(KEY, jnp.zeros((1, N)), full(1, 10.0), full(1)).any()


def test_noise_probability():
    config = AugmentConfig(noise_prob=0.25)
    x = np.repeat(tone(300, n=400), 400, axis=0)
    waveform, _ = jax.jit(functools.partial(augment_waveform, config=config, sample_rate=RATE))(
        KEY, waveform=x, length=full(400, 400)
    )
    assert (waveform != x).any(axis=1).mean() == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("rate", [0.5, 0.9, 1.0, 1.1, 1.37])
def test_speed_moves_tempo_and_pitch(rate):
    x = tone(300, 1000, 5000, n=64000)
    y, length = jax.jit(augment.change_speed)(x, full(3, 50000), full(3, rate))
    expected_length = min(64000, int(np.ceil(50000 / rate)))
    np.testing.assert_array_equal(length, [expected_length] * 3)
    inside = slice(10, expected_length - 10)
    expected = tone(300 * rate, 1000 * rate, 5000 * rate, n=64000)
    np.testing.assert_allclose(y[:, inside], expected[:, inside], atol=0.007)
    assert not y[:, expected_length:].any()


@pytest.mark.parametrize("semitones", [-4.0, 0.0, 3.0])
def test_pitch_moves_and_tempo_stays(semitones):
    harmonics = tone(*(130 * k for k in range(1, 12)), amplitude=0.05).sum(0)
    envelope = np.exp(-(((np.arange(N) - 8000) / 2500) ** 2))
    x = (harmonics * envelope).astype(np.float32)[None]
    y = np.asarray(jax.jit(augment.shift_pitch)(x, full(1), full(1, semitones)))[0]
    if not semitones:
        np.testing.assert_allclose(y, x[0], atol=1e-5)
    spectrum = np.abs(np.fft.rfft(y * np.hanning(N), 8 * N))
    expected = 130 * 2 ** (semitones / 12)
    near = slice(round(8 * 0.8 * expected), round(8 * 1.2 * expected))  # eight points a hertz
    assert (near.start + spectrum[near].argmax()) / 8 == pytest.approx(expected, rel=0.005)
    assert np.sum(np.arange(N) * y**2) / np.sum(y**2) == pytest.approx(8000, abs=100)
    assert abs(db(np.sum(y**2) / np.sum(x**2))) < 3


def test_angle_is_the_phase():
    z = np.exp(1j * np.linspace(-np.pi, np.pi, 1001)[1:-1]).astype(np.complex64) * 3
    np.testing.assert_allclose(jax.jit(augment._angle)(z), np.angle(z), atol=2e-5)


def test_shift_is_exact():
    x = np.arange(1, 11, dtype=np.float32)[None].repeat(3, axis=0)
    y = augment.shift_time(x, jnp.array([10, 8, 8]), jnp.array([3, 2, -2]))
    np.testing.assert_array_equal(
        y,
        [
            [0, 0, 0, 1, 2, 3, 4, 5, 6, 7],
            [0, 0, 1, 2, 3, 4, 5, 6, 0, 0],
            [3, 4, 5, 6, 7, 8, 0, 0, 0, 0],
        ],
    )


def test_gain_is_exact():
    np.testing.assert_allclose(
        augment.apply_gain(jnp.ones((2, 3)), jnp.array([20.0, -20.0])), [[10] * 3, [0.1] * 3]
    )


def test_masks_take_the_mean_of_the_clip():
    B, T, D, valid = 256, 60, 20, 50
    features = np.random.default_rng(0).normal(5, 1, (B, T, D)).astype(np.float32)
    config = AugmentConfig(freq_masks=1, freq_mask_width=6, time_masks=1, time_mask_width=20)
    mask = jax.jit(functools.partial(augment_features, config=config))
    masked = np.asarray(mask(KEY, features=features, num_frames=full(B, valid))[0])
    changed = masked != features
    assert not changed[:, valid:].any()
    means = np.broadcast_to(features[:, :valid].mean(1, keepdims=True), features.shape)
    np.testing.assert_allclose(masked[changed], means[changed], rtol=1e-5)
    bands, stretches = changed[:, :valid].all(1).sum(1), changed[:, :valid].all(2).sum(1)
    assert (bands.min(), bands.max()) == (0, 6)
    assert (stretches.min(), stretches.max()) == (0, 20)
    rest = ~changed[:, :valid].all(1)[:, None, :] & ~changed[:, :valid].all(2)[:, :, None]
    assert not changed[:, :valid][rest].any()
    # Every place is masked sometimes, the edges included.
    assert changed[:, :valid].all(1).any(0)[[0, D - 1]].all()
    config = AugmentConfig(time_masks=1, time_mask_width=99)
    short = augment_features(KEY, config, features, full(B, 10))[0] != features
    assert short.all(2).sum(1).max() == 5


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.25])
def test_tempo_plays_the_valid_frames(rate):
    T, valid = 60, 40
    ramp = jnp.broadcast_to(
        jnp.where(jnp.arange(T) < valid, jnp.arange(T), jnp.nan)[None, :, None], (2, T, 3)
    )
    played, num_frames = augment.change_tempo(ramp, full(2, valid), full(2, rate))
    expected = min(T, int(np.ceil(valid / rate)))
    np.testing.assert_array_equal(num_frames, expected)
    np.testing.assert_allclose(
        played[:, :expected, 0], [np.minimum(np.arange(expected) * rate, valid - 1)] * 2, rtol=1e-5
    )


def test_frequency_warp_moves_a_peak_as_far_as_speed_does():
    centres = mel_centres(FrontendConfig())
    octave = np.log2(centres)
    peak = jnp.asarray(np.exp(-((octave - np.log2(1500)) ** 2) / 0.02))[None, None]
    for factor in (0.9, 1.0, 1.15):
        warped = augment.warp_frequency(peak, jnp.array([factor]), centres)[0, 0]
        centre = np.sum(octave * warped) / np.sum(warped)
        np.testing.assert_allclose(2**centre, 1500 * factor, rtol=0.02)


def test_mean_removal_leaves_no_mean_and_ignores_padding():
    features, num_frames = np.array(3 + jax.random.normal(KEY, (2, 9, 4))), np.array([9, 5])
    removed = np.asarray(augment.remove_mean(features, num_frames))
    for clip, before, frames in zip(removed, features, num_frames, strict=True):
        np.testing.assert_allclose(
            clip[:frames], before[:frames] - before[:frames].mean(0), atol=1e-6
        )
    config = augment.AugmentConfig(mean_removal_prob=0.5)
    many, lengths = np.repeat(features[:1], 200, 0), np.full(200, 9)
    varied, _ = augment.augment_features(KEY, config, many, lengths)
    share = np.mean(np.abs(np.asarray(varied).mean((1, 2))) < 1e-5)
    assert 0.35 < share < 0.65


def test_equaliser_is_straight_between_its_points():
    features = jax.random.normal(KEY, (2, 5, 7))
    gains = jnp.array([[1.0, 3.0, -1.0], [0.0, 0.5, 0.5]])
    added = np.asarray(augment.equalise(features, gains) - features)
    assert np.ptp(added, axis=1).max() < 1e-6
    expected = [np.interp(np.arange(7), (0, 3, 6), points) for points in gains]
    np.testing.assert_allclose(added[:, 0], expected, atol=1e-6)


def test_each_clip_has_an_equaliser_of_its_own():
    features = jnp.zeros((400, 3, 26))
    moved = augment_features(KEY, AugmentConfig(equaliser=0.6), features, full(400, 3))[0]
    at_points = moved[:, 0, :: 25 // (augment.EQUALISER_POINTS - 1)]  # [400, P]
    np.testing.assert_allclose(at_points.std(axis=0), 0.6, rtol=0.15)
    correlation = np.corrcoef(at_points, rowvar=False) - np.eye(augment.EQUALISER_POINTS)
    assert np.abs(correlation).max() < 0.2


def test_level_is_one_offset_a_clip():
    features = jnp.zeros((64, 10, 4))
    moved = augment_features(KEY, AugmentConfig(level=2.0), features, full(64, 10))[0]
    assert np.ptp(moved, axis=(1, 2)).max() == 0
    np.testing.assert_allclose(moved[:, 0, 0].std(), 2.0, rtol=0.3)


@pytest.mark.parametrize(
    "change", [{"noise_prob": 1.1}, {"speed": (1.1, 0.9)}, {"gain_db": -1.0}, {"room_prob": 2.0}]
)
def test_config_that_cannot_work(change):
    with pytest.raises(ConfigError, match="augmentation cannot work"):
        augment_waveform(KEY, AugmentConfig(**change), tone(300), full(1), RATE)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, length: augment.add_noise(KEY, x, full(2, 10.0), length),
        lambda x, length: augment.add_babble(KEY, x, full(2, 10.0), length),
        lambda x, length: augment.reverberate(KEY, x, length, full(2, 0.3), RATE),
        lambda x, length: mixing.limit_band(x, full(2, 300.0), full(2, 3400.0), RATE, length),
        lambda x, length: augment.change_speed(x, length, full(2, 1.07))[0][:, :11000],
        lambda x, length: augment.shift_pitch(x, length, full(2, 1.5)),
        lambda x, length: augment.shift_time(x, length, full(2, -700)),
    ],
    ids=["noise", "babble", "room", "band", "speed", "pitch", "shift"],
)
def test_rubbish_past_the_end_is_not_heard(change):
    clean, rubbish = tone(300, 700), tone(300, 700)
    clean[:, 12000:], rubbish[:, 12000:] = 0, 9
    run = jax.jit(change)
    np.testing.assert_array_equal(
        run(clean, full(2, 12000))[:, :12000], run(rubbish, full(2, 12000))[:, :12000]
    )


def test_a_room_answers_after_the_direct_sound():
    """A click comes back as noise that is 60 dB down after the time asked for, at the power of the
    click.
    """
    click = np.zeros((2, N), np.float32)
    click[:, 1000] = 1.0
    seconds = jnp.array([0.2, 0.4])
    wet = np.asarray(augment.reverberate(KEY, click, full(2), seconds, RATE))
    np.testing.assert_allclose((wet**2).sum(1), 1.0, rtol=1e-4)
    assert np.abs(wet[:, :1000]).max() < 1e-4
    assert np.abs(wet[:, 1001:1040]).max() < 1e-4, "before the first reflection"
    for row, T60 in zip(wet, seconds, strict=True):
        levels = db(np.array([np.mean(row[1100 + i : 1900 + i] ** 2) for i in (0, 1600)]))
        assert levels[0] - levels[1] == pytest.approx(60 * 0.1 / T60, abs=2)


def test_babble_is_of_other_voices_at_the_ratio_asked_for():
    hz = np.array([300, 500, 700, 900, 1100, 1300])
    x = tone(*hz)
    voices = np.asarray(augment.add_babble(KEY, x, jnp.full((6,), 6.0), full(6))) - x
    np.testing.assert_allclose(db((x**2).sum(1) / (voices**2).sum(1)), 6.0, atol=0.01)
    present = np.abs(np.fft.rfft(voices))[:, hz] > 100
    assert not present.diagonal().any(), "nobody babbles behind themselves"
    np.testing.assert_array_equal(present.sum(1), mixing.MAX_BABBLERS)
    np.testing.assert_allclose(augment.add_babble(KEY, x[:1], jnp.full((1,), 6.0), full(1)), x[:1])


def test_background_is_repeated_behind_the_others_at_the_ratio_asked_for():
    """Examples 1 and 3 are backgrounds, of periods of their own.

    One of them is heard behind each example.
    """
    t = np.arange(4000)
    x = jnp.array([np.sin(2 * np.pi * (k + 1) * t / 400) for k in range(4)], jnp.float32)
    length = jnp.array([4000, 400, 4000, 400])
    chosen = jnp.array([False, True, False, True])
    behind = (
        np.asarray(augment.add_background(KEY, x, jnp.full((4,), 6.0), length, chosen))[:1] - x[:1]
    )
    assert 10 * np.log10(np.sum(x[0] ** 2) / np.sum(behind**2)) == pytest.approx(6.0, abs=0.01)
    lines = np.abs(np.fft.rfft(behind[0]))
    assert np.flatnonzero(lines > 0.1 * lines.max()).tolist() in ([20], [40])
    alone = augment.add_background(KEY, x, jnp.full((4,), 6.0), length, ~(chosen | True))
    np.testing.assert_array_equal(alone[::2], x[::2])


def test_room_babble_and_band_are_drawn_for_each_example():
    config = AugmentConfig(room_prob=0.5, babble_prob=0.2, band_prob=0.5)
    x = np.repeat(tone(300, n=800), 64, axis=0)
    x[:32] = np.random.default_rng(0).normal(size=(32, 800))
    run = jax.jit(
        functools.partial(
            augment_waveform, config=config, waveform=x, length=full(64, 800), sample_rate=RATE
        )
    )
    augmented, _ = run(KEY)
    changed = (np.abs(augmented - x) > 1e-6).any(axis=1)
    assert changed.mean() == pytest.approx(1 - 0.5 * 0.8 * 0.5, abs=0.15)
    np.testing.assert_array_equal(augmented, run(KEY)[0])


def test_what_is_done_to_waveforms_can_be_taken_alone():
    config = AugmentConfig(
        room_prob=0.3,
        gain_db=2.0,
        tempo=(0.9, 1.1),
        level=0.1,
        equaliser=0.5,
        freq_masks=2,
        time_masks=1,
    )
    assert config.of_waveforms == AugmentConfig(room_prob=0.3, gain_db=2.0)
