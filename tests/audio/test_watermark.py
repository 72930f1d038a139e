"""The watermark of generated speech: what it leaves alone, what it survives, and what is not taken for it."""

import math

import numpy as np
import pytest
from helpers.recordings import buzz, tone

from lin_jax.audio import files, watermark
from lin_jax.errors import AudioError

RATE = 16000


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_the_mark_is_found_at_every_rate(rate):
    clean = buzz(3.0, rate)
    marked = watermark.mark(clean, rate)
    assert marked.shape == clean.shape
    assert marked.dtype == np.float32
    assert not watermark.detect(clean, rate).marked
    detection = watermark.detect(marked, rate)
    assert detection.marked
    assert detection.false_alarm < 1e-9
    assert detection.spans == ((0.0, detection.seconds),)
    assert detection.seconds == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[round(0.4567 * RATE) :],
        lambda x: 0.5 * x,
        lambda x: -2.0 * x,
        lambda x: files.resample(files.resample(x, RATE, 8000), 8000, RATE),
        lambda x: files.resample(x, RATE, round(1.024 * RATE)),
        lambda x: x + 0.1 * x.std() * np.random.default_rng(1).standard_normal(len(x)),
    ],
    ids=["cut", "softer", "louder", "telephone band", "slower", "noise"],
)
def test_the_mark_survives(change):
    assert watermark.detect(change(watermark.mark(buzz(4.0), RATE)), RATE).marked


def test_the_band_is_all_that_changes_and_by_no_more_than_the_strength():
    clean = np.random.default_rng(0).normal(0, 0.1, 5 * RATE).astype(np.float32)
    change = watermark.mark(clean, RATE) - clean
    power = np.abs(np.fft.rfft(change)) ** 2
    hz = np.fft.rfftfreq(len(change), 1 / RATE)
    top = watermark.LOWEST_HZ + watermark.BANDS * watermark.BAND_HZ
    inside = (hz > watermark.LOWEST_HZ - 60) & (hz < top + 60)
    assert power[~inside].sum() < 1e-3 * power.sum()
    assert change.std() < (10 ** (watermark.STRENGTH_DB / 20) - 1) * clean.std()
    level = 20 * np.log10((clean + change).std() / clean.std())
    assert level == pytest.approx(0, abs=0.05)


def test_only_the_marked_stretch_of_a_recording_is_named():
    whole = np.concatenate(
        [buzz(12.0), watermark.mark(buzz(9.0, seed=1), RATE), buzz(12.0, seed=2)]
    )
    ((start, end),) = watermark.detect(whole, RATE).spans
    assert 8 < start < 13
    assert 20 < end < 26


def test_a_file_and_its_samples_give_the_same_answer(tmp_path):
    marked = watermark.mark(buzz(7.5), RATE)
    files.write(tmp_path / "a.wav", marked, RATE)
    by_path, by_samples = watermark.detect(tmp_path / "a.wav"), watermark.detect(marked, RATE)
    assert by_path.marked
    assert by_path.spans == by_samples.spans
    assert by_path.score == pytest.approx(by_samples.score, rel=1e-2)


@pytest.mark.parametrize(
    "samples",
    [np.zeros(3 * RATE), tone(3.0), np.random.default_rng(0).normal(0, 0.1, 3 * RATE)],
    ids=["silence", "tone", "noise"],
)
def test_what_is_no_speech_is_not_taken_for_marked(samples):
    assert not watermark.detect(samples, RATE).marked


def test_the_bound_of_false_alarms_holds_for_other_keys():
    keys = np.random.default_rng(0).choice(
        [-1.0, 1.0], size=(500, watermark.CELLS, watermark.BANDS)
    )
    scores = watermark.score(files.resample(buzz(3.0), RATE, watermark.RATE), keys)
    assert scores.shape == (500,)
    for z in (4.0, 4.5):
        assert np.mean(scores >= z) <= watermark.false_alarm(z)
    assert 2.5 < np.median(scores) < 3.7  # deviations are what they are called
    assert watermark.false_alarm(0.0) > 1
    assert math.isclose(watermark.false_alarm(-1.0), 1792)


def test_errors_are_named(tmp_path):
    with pytest.raises(AudioError, match=r"0.50 s are too short.*use 1 s"):
        watermark.detect(buzz(0.5), RATE)
    files.write(tmp_path / "short.wav", buzz(0.5), RATE)
    with pytest.raises(AudioError, match=r"short.wav: 0.50 s"):
        watermark.detect(tmp_path / "short.wav")
    with pytest.raises(AudioError, match="sample rate is unknown"):
        watermark.detect(buzz(3.0))
    with pytest.raises(AudioError, match="no such file"):
        watermark.detect(tmp_path / "missing.wav")


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_the_shortest_waveforms_are_marked(count):
    marked = watermark.mark(np.full(count, 0.1, np.float32), RATE)
    assert marked.shape == (count,)
    assert np.all(np.isfinite(marked))


def test_long_speech_is_marked_as_if_at_once(monkeypatch):
    clean = buzz(35.0, 8000)
    np.testing.assert_allclose(
        watermark.mark(clean, 8000)[: 30 * 8000],
        watermark.mark(clean[: 31 * 8000], 8000)[: 30 * 8000],
        atol=1e-6,
    )
