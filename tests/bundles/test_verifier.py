"""The verifier: embeddings do not depend on what is heard beside them, and nothing is said that cannot be known."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from helpers import verifiers
from helpers.recordings import BAD, two_hours

import lin_jax
from lin_jax import bundles, checksums, scoring
from lin_jax.audio import files
from lin_jax.bundles.verifier import LENGTHS, MIN_SECONDS
from lin_jax.errors import AudioError, BundleError, ConfigError

RATE = verifiers.RATE


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    verifiers.register(monkeypatch)


@pytest.fixture(scope="module")
def bundle():
    return verifiers.verifier()


def test_saved_and_loaded_says_the_same(tmp_path):
    bundle = verifiers.verifier(min_seconds=1.5, speech_threshold=0.3)
    again = lin_jax.load(bundles.save(tmp_path / "voices", bundle, "# Voices\n"))
    assert isinstance(again, bundles.Verifier)
    sides = verifiers.voice(0), verifiers.voice(1)
    assert again.verify(*sides, sample_rate=RATE) == bundle.verify(*sides, sample_rate=RATE)
    assert again.fingerprint == bundle.fingerprint
    assert (again.min_seconds, again.speech_threshold) == (1.5, 0.3)


def test_fingerprint_is_of_the_weights(bundle):
    other = verifiers.verifier()
    other.variables["params"]["Dense_0"]["kernel"][0, 0] += 1e-3
    assert bundle.fingerprint == verifiers.verifier().fingerprint != other.fingerprint


def test_speakers_are_told_apart(bundle):
    same = bundle.verify(verifiers.voice(0), verifiers.voice(0, seed=1), sample_rate=RATE)
    different = bundle.verify(verifiers.voice(0), verifiers.voice(1), sample_rate=RATE)
    assert (same.decision, different.decision) == ("same", "different")
    a, b = bundle.embed(verifiers.voice(0), RATE), bundle.embed(verifiers.voice(1), RATE)
    assert different.score == pytest.approx(a @ b, abs=1e-5)
    assert different.distance == pytest.approx(1 - a @ b, abs=1e-5)
    assert different.probability == pytest.approx(1 / (1 + np.exp(5 - 10 * (a @ b))), abs=1e-5)
    assert (same.threshold, same.reason) == (0.5, "")


def test_threshold_can_be_chosen(bundle):
    sides = verifiers.voice(0), verifiers.voice(0, seed=1)
    assert bundle.verify(*sides, threshold=1.0, sample_rate=RATE).decision == "different"
    assert (
        bundle.verify(
            verifiers.voice(0), verifiers.voice(1), threshold=-1.0, sample_rate=RATE
        ).decision
        == "same"
    )
    with pytest.raises(ConfigError, match="between -1 and 1"):
        bundle.verify(*sides, threshold=50.0, sample_rate=RATE)


def test_cohort_decides_by_the_normalised_score(bundle, tmp_path):
    a, b = verifiers.voice(0), verifiers.voice(1)
    sides = np.stack([bundle.embed(a, RATE), bundle.embed(b, RATE)])
    near = sides[:1] + 0.3 * np.random.default_rng(0).normal(
        size=(5, sides.shape[1])
    )  # strangers like side a
    cohort = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    settings = {"cohort": cohort, "top": 3, "threshold": 2.0, "slope": 0.5, "offset": -1.0}
    saved = bundles.save(tmp_path / "voices", verifiers.verifier(**settings), "")
    verdict = lin_jax.load(saved).verify(a, b, sample_rate=RATE)
    (normalised,) = scoring.as_norm([sides[0] @ sides[1]], [(0, 1)], sides @ cohort.T, top=3)
    assert verdict.normalised_score == pytest.approx(normalised, rel=1e-3)
    assert (verdict.score, verdict.distance) == pytest.approx(
        (sides[0] @ sides[1], 1 - sides[0] @ sides[1]), abs=1e-5
    )
    assert verdict.probability == pytest.approx(1 / (1 + np.exp(1 - 0.5 * normalised)), rel=1e-3)
    assert verdict.threshold == 2.0
    for above, same in ((-1e-3, "same"), (1e-3, "different")):
        chosen = verdict.normalised_score + above
        assert lin_jax.load(saved).verify(a, b, threshold=chosen, sample_rate=RATE).decision == same
    plain = bundle.verify(a, b, sample_rate=RATE)
    assert plain.normalised_score == plain.score == pytest.approx(verdict.score)
    with pytest.raises(ConfigError, match="not a number that scores can reach"):
        lin_jax.load(saved).verify(a, b, threshold=float("nan"), sample_rate=RATE)


def test_narrow_recordings_are_decided_by_their_own_cohort(tmp_path):
    """As saved and loaded; a telephone on one side is enough."""
    a = files.resample(verifiers.voice(0), RATE, 8000)
    b = verifiers.voice(1)
    rng = np.random.default_rng(0)
    cohorts = rng.normal(size=(2, 5, verifiers.verifier().embedding_size)).astype(np.float32)
    cohorts /= np.linalg.norm(cohorts, axis=-1, keepdims=True)
    settings = {"cohort": cohorts[0], "narrow_cohort": cohorts[1], "top": 3}
    bundle = lin_jax.load(bundles.save(tmp_path / "voices", verifiers.verifier(**settings), ""))
    for side, narrow in ((a, True), (files.resample(a, 8000, RATE), True), (b, False)):
        rate = 8000 if side is a else RATE
        (voice,), (other,) = bundle.embed_all([side], rate), bundle.embed_all([b], RATE)
        assert voice.narrow == narrow
        sides = np.stack([voice.embedding, other.embedding])
        (expected,) = scoring.as_norm(
            [sides[0] @ sides[1]], [(0, 1)], sides @ cohorts[int(narrow)].T, top=3
        )
        verdict = bundle.compare([voice], [other])
        assert verdict.normalised_score == pytest.approx(expected, rel=1e-3)


def test_likelihood_ratios_decide_where_the_bundle_has_them(bundle, tmp_path):
    """Saved and loaded, with and without a cohort; the score that is told stays the cosine."""
    a, b = verifiers.voice(0), verifiers.voice(1)
    sides = np.stack([bundle.embed(a, RATE), bundle.embed(b, RATE)])
    rng = np.random.default_rng(0)
    cohort = rng.normal(size=(5, sides.shape[1]))
    cohort = (cohort / np.linalg.norm(cohort, axis=1, keepdims=True)).astype(np.float32)
    plda = scoring.Plda.fit(
        np.repeat(cohort, 4, axis=0) + 0.1 * rng.normal(size=(20, sides.shape[1])),
        np.arange(20) // 4,
    )
    arrays = {"plda_mean": plda.mean, "plda_axes": plda.axes, "plda_between": plda.between}
    for others in ({}, {"cohort": cohort, "top": 3}):
        saved = bundles.save(tmp_path / "voices", verifiers.verifier(**arrays, **others), "")
        verdict = lin_jax.load(saved).verify(a, b, threshold=50.0, sample_rate=RATE)
        expected = plda.scores(sides[:1], sides[1:])[0]
        if others:
            expected = scoring.as_norm(expected, [(0, 1)], plda.scores(sides, cohort), top=3)
        assert verdict.normalised_score == pytest.approx(expected[0], rel=1e-3, abs=1e-3)
        assert verdict.score == pytest.approx(sides[0] @ sides[1], abs=1e-5)
        assert verdict.decision == "different"


def test_two_that_stand_beside_each_other_answer_together(bundle, tmp_path):
    """Each by its own rule, in shares; what either hears is the embedding, and whether it is speech the first says."""
    a, b = verifiers.voice(0), verifiers.voice(1)
    other = verifiers.verifier(speech_weight=np.zeros(len(bundle.speech_weight)), speech_bias=-9.0)
    other.mean = other.mean + 1.0
    first, second = (
        np.stack([verifier.embed(sound, RATE) for sound in (a, b)]) for verifier in (bundle, other)
    )
    other.cohort, other.top = second[:, ::-1].copy(), 2
    saved = bundles.save(
        tmp_path / "voices", verifiers.verifier(fused=other, fusion_weight=0.3), ""
    )
    both = lin_jax.load(saved)
    assert both.embedding_size == 2 * bundle.embedding_size
    np.testing.assert_allclose(
        both.embed(a, RATE), scoring.joined(first[0], second[0], 0.3), atol=1e-5
    )
    verdict = both.verify(a, b, sample_rate=RATE)
    cosines = first[0] @ first[1], second[0] @ second[1]
    assert verdict.score == pytest.approx(0.7 * cosines[0] + 0.3 * cosines[1], abs=1e-5)
    (normalised,) = scoring.as_norm([cosines[1]], [(0, 1)], second @ other.cohort.T, top=2)
    assert verdict.normalised_score == pytest.approx(0.7 * cosines[0] + 0.3 * normalised, rel=1e-3)
    assert verdict.decision == "different"
    assert both.verify(a, verifiers.voice(0, seed=1), sample_rate=RATE).decision == "same"
    assert len({both.fingerprint, bundle.fingerprint, other.fingerprint}) == 3
    other.frontend = dataclasses.replace(other.frontend, trim_db=None)
    with pytest.raises(BundleError, match="prepares waveforms otherwise"):
        verifiers.verifier(fused=other)


def test_bundle_from_before_there_were_cohorts_is_read(tmp_path):
    folder = bundles.save(tmp_path / "voices", verifiers.verifier(), "")
    described = bundles.describe(folder)
    del described["top"], described["fusion_weight"], described["child_bias"]
    (folder / "bundle.json").write_text(checksums.to_json(described))
    loaded = bundles.load(folder)
    assert loaded.cohort is loaded.plda_mean is None
    (voice,) = loaded.embed_all([verifiers.voice(0)], RATE)
    assert not loaded.may_be_child(voice), "which it has not learnt"


def test_a_bundle_may_know_voices_of_children(bundle, tmp_path):
    """Half way between the two speakers; as saved and loaded."""
    child, other = (bundle.embed(verifiers.voice(speaker), RATE) for speaker in (1, 0))
    weight, bias = child - other, -0.5 * (child - other) @ (child + other)
    knowing = verifiers.verifier(child_weight=weight, child_bias=float(bias))
    loaded = bundles.load(bundles.save(tmp_path / "voices", knowing, ""))
    voices = loaded.embed_all([verifiers.voice(speaker, seed=1) for speaker in (0, 1)], RATE)
    assert [loaded.may_be_child(voice) for voice in voices] == [False, True]
    assert loaded.fingerprint == bundle.fingerprint, "embeddings compare as before"


def test_several_recordings_of_a_side_are_averaged(bundle):
    side = [verifiers.voice(0), verifiers.voice(1), verifiers.voice(1, seed=2)]
    mean = np.mean([bundle.embed(sound, RATE) for sound in side], axis=0)
    other = bundle.embed(verifiers.voice(0, seed=3), RATE)
    verdict = bundle.verify(side, verifiers.voice(0, seed=3), sample_rate=RATE)
    assert verdict.score == pytest.approx(mean @ other / np.linalg.norm(mean), abs=1e-5)
    with pytest.raises(AudioError, match="a side without recordings"):
        bundle.verify(side, [], sample_rate=RATE)


def test_embeddings_do_not_depend_on_the_batch(bundle, tmp_path):
    lengths = (0.6, 1.0, 1.1, 2.9, 3.0, 3.7, 5.5, 8.0, 8.1, 19.4, 0.7)
    paths = []
    for seed, seconds in enumerate(lengths):
        paths.append(tmp_path / f"{seed}.wav")
        files.write(paths[-1], verifiers.voice(seed % 2, seconds, seed), RATE)
    together = bundle.embed_files(paths)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    for path, row in zip(paths, together, strict=True):
        np.testing.assert_allclose(bundle.embed(path), row, atol=1e-5)
    assert bundle._forward._cache_size() <= len(bundles.BATCHES) * len(LENGTHS)


def test_long_recording_is_the_mean_of_its_windows(bundle):
    sound = np.concatenate([verifiers.voice(0, 8.0), verifiers.voice(1, 8.0)])
    a, b = bundle.embed(sound[: 8 * RATE], RATE), bundle.embed(sound[8 * RATE :], RATE)
    (result,) = bundle.embed_all([sound], RATE)
    assert result.seconds == pytest.approx(16, abs=0.1)
    np.testing.assert_allclose(result.embedding, (a + b) / np.linalg.norm(a + b), atol=0.02)


def test_very_long_recording_takes_constant_memory(bundle, tmp_path):
    minutes = 20
    files.write(
        tmp_path / "long.wav", np.tile(verifiers.voice(0, 10.0, rate=8000), 6 * minutes), 8000
    )
    bundle.embed(tmp_path / "long.wav")  # compiles
    tracemalloc.start()
    embedding = bundle.embed(tmp_path / "long.wav")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert embedding @ bundle.embed(verifiers.voice(0, rate=8000), 8000) > 0.9
    assert peak < 0.5 * minutes * 60 * RATE * 4, f"{peak / 1e6:.1f} MB for a recording of 77 MB"


def test_every_bad_recording_yields_its_error_and_the_rest_goes_on(bundle, tmp_path):
    for name, (make, _) in BAD.items():
        make(tmp_path / f"{name}.wav")
    good = tmp_path / "good.wav"
    files.write(good, verifiers.voice(0), RATE)
    two_hours(tmp_path / "two hours.wav")
    paths = [good, *(tmp_path / f"{name}.wav" for name in BAD), tmp_path / "two hours.wav", good]
    results = list(bundle.embed_all(paths))
    assert [isinstance(result, bundles.SpeakerEmbedding) for result in results] == [True] + [
        False
    ] * (len(BAD) + 1) + [True]
    for path, error, message in zip(
        paths[1:], results[1:-1], [*(reason for _, reason in BAD.values()), "short"], strict=False
    ):
        assert str(error).startswith(f"{path}: ")
        assert message in str(error)
    with pytest.raises(AudioError, match="no such file"):
        bundle.embed_files([good, tmp_path / "missing.wav"])


@pytest.mark.parametrize("seconds", [0.1, MIN_SECONDS - 0.01])
def test_clip_too_short_for_any_answer_is_refused(bundle, seconds):
    with pytest.raises(AudioError, match=r"s of sound are too short for a voice, 0.5 s are needed"):
        bundle.verify(verifiers.voice(0), verifiers.voice(0, seconds), sample_rate=RATE)


def test_silence_is_refused_and_does_not_count_as_sound(bundle):
    with pytest.raises(AudioError, match="silent throughout"):
        bundle.embed(np.zeros(RATE, np.float32), RATE)
    padded = np.concatenate(
        [np.zeros(3 * RATE, np.float32), verifiers.voice(0, 0.3), np.zeros(RATE, np.float32)]
    )
    with pytest.raises(AudioError, match="too short"):
        bundle.embed(padded, RATE)


def test_short_sides_are_unsure_until_there_is_enough(bundle):
    short, enough = verifiers.voice(0, 0.7), [verifiers.voice(0, 0.7, seed) for seed in (1, 2)]
    verdict = bundle.verify(verifiers.voice(0), short, sample_rate=RATE)
    assert (verdict.decision, verdict.probability) == ("unsure", 0.5)
    assert "0.7 s of sound are too short to be sure, 1 s are needed" in verdict.reason
    assert bundle.verify(verifiers.voice(0), enough, sample_rate=RATE).decision == "same"


@pytest.mark.parametrize("swap", [False, True])
def test_noise_is_unsure(bundle, swap):
    sides = [verifiers.noise(seed=5), verifiers.voice(0)]
    verdict = bundle.verify(*(reversed(sides) if swap else sides), sample_rate=RATE)
    assert verdict.decision == "unsure"
    assert "does not sound like speech" in verdict.reason


@pytest.mark.parametrize(("rate", "unsure"), [(4000, True), (8000, False)])
def test_too_narrow_a_band_is_unsure(bundle, rate, unsure):
    """Half of a telephone's band tells little of a voice, at whatever rate it comes."""
    narrow = files.resample(verifiers.voice(0, 3.0, seed=1), RATE, rate)
    for sound, sample_rate in ((narrow, rate), (files.resample(narrow, rate, RATE), RATE)):
        (voice,) = bundle.embed_all([sound], sample_rate)
        verdict = bundle.compare([voice], list(bundle.embed_all([verifiers.voice(0)], RATE)))
        assert (verdict.decision == "unsure") == unsure
        assert ("kHz, 3 kHz are needed to be sure" in verdict.reason) == unsure


def test_recording_compared_with_itself_is_said_so(bundle, tmp_path):
    path, copy = tmp_path / "a.wav", tmp_path / "b.flac"
    files.write(path, verifiers.voice(0), RATE)
    files.write(copy, files.read(path)[0], RATE)
    verdict = bundle.verify(path, path)
    assert verdict.score == pytest.approx(1)
    assert verdict.reason.startswith(f"{path} is compared with itself")
    other = tmp_path / "c.wav"
    files.write(other, verifiers.voice(0, seed=1), RATE)
    assert bundle.verify([other, path], copy).reason.startswith(
        f"{path} and {copy} are the same recording"
    )
    assert bundle.verify(path, other).reason == ""


def test_samples_without_a_rate_are_refused(bundle):
    with pytest.raises(AudioError, match="pass sample_rate="):
        bundle.embed(verifiers.voice(0))


def test_incomplete_calibration_is_refused(tmp_path):
    folder = bundles.save(tmp_path / "voices", verifiers.verifier(), "")
    described = bundles.describe(folder)
    del described["calibration"]["threshold"]
    (folder / "bundle.json").write_text(checksums.to_json(described))
    with pytest.raises(BundleError, match="lack 'threshold'"):
        bundles.load(folder)
