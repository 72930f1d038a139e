"""A threshold fitted by a few people: where it lies, how sure it is, and when there is none."""

import dataclasses
import types

import numpy as np
import pytest
from helpers import verifiers

from lin_jax.bundles import SpeakerCalibration, SpeakerEmbedding
from lin_jax.errors import AudioError, ConfigError
from lin_jax.scoring import ScoringBackend

ENCODER = types.SimpleNamespace(
    name="voices", fingerprint="0123456789ab", backend=ScoringBackend(), slope=10.0
)


def people(angles, spread=0.05, count=4, seed=0):
    """Recordings of people whose voices point in these directions, in radians."""
    rng = np.random.default_rng(seed)
    return {
        f"person{number}": [
            SpeakerEmbedding("clip.wav", np.array([np.cos(a), np.sin(a)]), 3.0, 1.0, "")
            for a in angle + spread * rng.normal(size=count)
        ]
        for number, angle in enumerate(angles)
    }


def test_threshold_lies_between_the_voices():
    calibration = SpeakerCalibration.fit(ENCODER, people([0.0, 1.2, 2.4, 3.6]))
    assert (calibration.people, calibration.recordings, calibration.trials) == (4, 16, 120)
    assert calibration.eer == calibration.false_accept == calibration.false_reject == 0
    assert np.cos(1.2) < calibration.threshold < 1
    assert calibration.threshold_low < calibration.threshold < calibration.threshold_high < 1
    assert calibration.overlapping == ()


def test_interval_narrows_with_people_and_others_are_named():
    """Two of ten sound alike: the others get a threshold, and the two are told."""
    few = SpeakerCalibration.fit(ENCODER, people([0.0, 1.0, 2.0], 0.2))
    many = SpeakerCalibration.fit(ENCODER, people([*np.arange(9) * 0.69, 0.02], 0.05))
    assert many.threshold_high - many.threshold_low < few.threshold_high - few.threshold_low
    ((a, b, rate),) = many.overlapping
    assert (a, b) == ("person0", "person9")
    assert rate > 0.2
    assert 0 < many.eer < 0.1
    assert many.eer_low <= many.eer <= many.eer_high


def test_one_with_many_recordings_weighs_no_more():
    voices = people([0.0, 1.2, 2.4, 3.6])
    expected = SpeakerCalibration.fit(ENCODER, voices)
    more = SpeakerCalibration.fit(ENCODER, voices | {"person0": voices["person0"] * 5})
    assert more.threshold == pytest.approx(expected.threshold, abs=0.01)


def test_no_threshold_where_voices_overlap():
    message = r"overlap: \d\d% of the decisions .* of person\d and person\d \d\d%, so there is none"
    with pytest.raises(ConfigError, match=message):
        SpeakerCalibration.fit(ENCODER, people([0.0, 0.02, 0.04]))


@pytest.mark.parametrize(
    ("voices", "message"),
    [
        ({}, "0 people are too few to calibrate by: 3 are needed"),
        (people([0.0, 1.0]), "2 people are too few"),
        (people([0.0, 1.0, 2.0], count=1), "person0: 1 recordings are too few .*, 3 a person"),
    ],
)
def test_too_little_to_calibrate_by(voices, message):
    with pytest.raises(AudioError, match=message):
        SpeakerCalibration.fit(ENCODER, voices)


def test_written_read_and_applied(tmp_path, monkeypatch):
    verifiers.register(monkeypatch)
    bundle = verifiers.verifier()
    calibration = dataclasses.replace(
        SpeakerCalibration.fit(ENCODER, people([0.0, 1.2, 2.4])), model=bundle.fingerprint
    )
    calibration = dataclasses.replace(calibration, overlapping=(("Anna", "Ben", 0.25),))
    (tmp_path / "ours.json").write_text(calibration.to_json())
    assert SpeakerCalibration.load(tmp_path / "ours.json") == calibration
    sides = verifiers.voice(0), verifiers.voice(1)
    score = bundle.verify(*sides, sample_rate=verifiers.RATE).normalised_score
    at_score = dataclasses.replace(calibration, threshold=score)
    verdict = at_score.apply(bundle).verify(*sides, sample_rate=verifiers.RATE)
    assert verdict.threshold == score
    assert verdict.probability == pytest.approx(0.5, abs=1e-4)
    with pytest.raises(ConfigError, match="voices: another model than the calibration"):
        dataclasses.replace(calibration, model="other").apply(bundle)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("[]", "damaged or no calibration"),
        ("{", "damaged or no calibration"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "ours.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        SpeakerCalibration.load(tmp_path / "ours.json")
