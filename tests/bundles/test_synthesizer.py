"""The talker: what is said when, in whose voice, and that nothing goes on without end or unnamed."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import soundfile
from helpers import repairers, synthesizers, verifiers
from helpers.recordings import BAD, holds, tone
from helpers.synthesizers import RATE, SYMBOL_SECONDS, band, band_of

import lin_jax
from lin_jax import bundles
from lin_jax.audio import files, ltas
from lin_jax.audio.frontend import extract
from lin_jax.bundles import folder, saved_voices
from lin_jax.errors import AudioError, BundleError, ConfigError, TextError
from lin_jax.models.tacotron import Tacotron
from lin_jax.tasks.synthesis import Synthesis, move_to_anchors
from lin_jax.text import Sentence


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    synthesizers.register(monkeypatch)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The folder of the bundle that hears voices."""
    with pytest.MonkeyPatch.context() as patch:
        verifiers.register(patch)
        return bundles.save(tmp_path_factory.mktemp("encoder") / "voices", verifiers.verifier(), "")


@pytest.fixture(scope="module")
def bundle(encoder):
    return synthesizers.synthesizer(encoder)


def middle(samples, start, end):
    """The middle half of what lies from `start` to `end` seconds."""
    quarter = (end - start) / 4
    return samples[round((start + quarter) * RATE) : round((end - quarter) * RATE)]


def spelt(speech, piece, text, voice):
    """Whether a piece spells a text, symbol by symbol, in a voice."""
    starts = piece.start + SYMBOL_SECONDS * np.arange(len(text))
    sounds = [band(middle(speech.samples, start, start + SYMBOL_SECONDS)) for start in starts]
    return sounds == [band_of(symbol, voice) for symbol in text]


def test_saved_and_loaded_is_the_same_and_speaks(tmp_path):
    """With the network that is trained."""
    network = Tacotron(16, len(synthesizers.TABLE), 0, 2, 2, 8, 8, 4, 16, (8,), (8,), dropout=0.0)
    bundle = dataclasses.replace(
        synthesizers.synthesizer(
            trained_seconds=3.0, encoder_fingerprint="abc", anchor_voices=("High",)
        ),
        model=network,
        max_seconds=0.4,
    )
    task = Synthesis(network, synthesizers.FRONTEND, bundle.mean, bundle.std, voice_size=64)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(task.init, jax.random.key(0))["params"]
    bundle.variables = {
        "params": jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), shapes)
    }
    bundle.variables["params"]["stop_projection"]["bias"] -= 100.0
    again = lin_jax.load(bundles.save(tmp_path / "talker", bundle, "# Synthesizer\n"))
    assert isinstance(again, bundles.Synthesizer)
    for field in (
        "model",
        "frontend",
        "names",
        "sexes",
        "sources",
        "encoder",
        "encoder_fingerprint",
        "anchor_voices",
    ):
        assert getattr(again, field) == getattr(bundle, field)
    assert (again.table, again.max_seconds, again.source_mfcc) == (synthesizers.TABLE, 0.4, 8)
    assert again.trained_seconds == 3.0
    jax.tree.map(np.testing.assert_array_equal, again.variables, bundle.variables)
    with pytest.warns(UserWarning, match="did not come to an end"):
        assert again.speak("abba").seconds == pytest.approx(0.4, abs=0.02)


def test_sentences_in_order(bundle):
    done = []
    speech = bundle.speak("Abcdefg. ab. Hagebad.", "High", progress=done.append)
    assert [piece.text for piece in speech.segments] == ["Abcdefg.", "ab.", "Hagebad."]
    assert done == [1, 1, 1]
    for piece, text in zip(speech.segments, ("abcdefg.", "ab", "hagebad."), strict=True):
        assert spelt(speech, piece, text, voice=1)
    pauses = [b.start - a.end for a, b in zip(speech.segments, speech.segments[1:], strict=False)]
    assert pauses == pytest.approx([0.3, 0.3])
    assert speech.segments[0].start == 0
    assert speech.segments[-1].end == speech.seconds
    assert speech.sample_rate == RATE
    assert np.abs(speech.samples).max() < 1
    steady = bundle.speak("aaaa", "High").samples
    assert 10 * np.log10(np.mean(steady**2)) == pytest.approx(-25.0, abs=1.0)  # marked


def test_streamed_sentences_are_those_of_the_whole(bundle):
    """One after the other they are what is said at once; what cannot be said is an error at once."""
    text = "Abcdefg. ab. Hagebad."
    whole, parts = bundle.speak(text, "High"), list(bundle.stream(text, "High"))
    assert [part.segments[0].text for part in parts] == [each.text for each in whole.segments]
    assert sum(len(part.samples) for part in parts) == len(whole.samples)
    assert [part.segments[0].start for part in parts] == pytest.approx([0, 0.3, 0.3])
    for part, text in zip(parts, ("abcdefg.", "ab", "hagebad."), strict=True):
        assert spelt(part, part.segments[0], text, voice=1)
    with pytest.warns(UserWarning, match="comma"):
        parts = list(bundle.stream("Bad cab hag bag, head. Cab."))
    assert [part.segments[0].text for part in parts] == ["Bad cab hag bag,", "head.", "Cab."]
    with pytest.raises(TextError):
        bundle.stream("…")
    with pytest.raises(ConfigError, match="choose one from"):
        bundle.stream("ab", speed=9)


def test_a_stream_begins_with_a_part_of_a_long_sentence(bundle, monkeypatch):
    monkeypatch.setattr("lin_jax.bundles.synthesizer.FIRST_LETTERS", 12)
    parts = list(bundle.stream("bad cab hag bag head. Cab."))
    assert [part.segments[0].text for part in parts] == ["bad cab hag", "bag head.", "Cab."]
    assert parts[2].segments[0].start == pytest.approx(0.3)  # the pause after the sentence stays


def test_voices(bundle):
    """A learnt one by its name, one that is heard, and several together; the first is the default."""
    speech = bundle.speak("abc")
    assert spelt(speech, speech.segments[0], "abc", voice=0)
    for voice in (
        "High",
        bundle.clone_voice(verifiers.voice(1, seed=3), RATE),
        ["High", "High", "Low"],
    ):
        speech = bundle.speak("abc", voice)
        assert spelt(speech, speech.segments[0], "abc", voice=1)
    np.testing.assert_allclose(bundle.clone_voice("High").embedding, bundle.voices[1], atol=1e-6)
    mean = bundle.voices[0] + 2 * bundle.voices[1]
    together = bundle.clone_voice(["High", "Low", "High"])
    np.testing.assert_allclose(together.embedding, mean / np.linalg.norm(mean), atol=1e-6)
    with pytest.raises(
        ConfigError,
        match=r"a ndarray as voice: give a name, a path, or what Synthesizer\.clone_voice returns",
    ):
        bundle.speak("abc", np.ones(64))


def test_a_voice_that_is_heard_is_made_clearer(encoder, bundle):
    """It is moved towards the nearest voice that is clear; a learnt one is spoken in as it is."""
    clear = synthesizers.synthesizer(encoder, anchor_voices=("Low",), min_anchor_similarity=0.9)
    plain, moved = (
        synthesizer.clone_voice(verifiers.voice(1), RATE).embedding
        for synthesizer in (bundle, clear)
    )
    np.testing.assert_allclose(
        moved, move_to_anchors(plain[None], bundle.voices[:1], 0.9)[0], atol=1e-5
    )
    assert moved @ bundle.voices[0] > plain @ bundle.voices[0]
    np.testing.assert_allclose(clear.clone_voice("High").embedding, bundle.voices[1], atol=1e-6)


def test_speech_has_the_spectrum_of_its_voice(bundle):
    """A voice is heard with its mean frame, and what is said in it sounds as bright or dull."""
    low, high = (bundle.clone_voice(verifiers.voice(speaker), RATE) for speaker in (0, 1))
    frames, count = extract(
        synthesizers.FRONTEND,
        files.load(verifiers.voice(0), synthesizers.FRONTEND, sample_rate=RATE),
    )
    np.testing.assert_allclose(low.ltas, ltas.long_term_spectrum(frames, count)[0], atol=0.01)
    np.testing.assert_allclose(bundle.clone_voice("High").ltas, bundle.ltas[1])
    both = bundle.clone_voice([verifiers.voice(0), verifiers.voice(1)], RATE)
    np.testing.assert_allclose(both.ltas, (low.ltas + high.ltas) / 2, atol=1e-3)
    spectra = []
    slope = np.linspace(-30.0, 30.0, 16, dtype=np.float32)
    for spectrum, correction in (
        (slope, 0 * slope),
        (-slope, 0 * slope),
        (0 * slope, slope),
        (0 * slope, -slope),
    ):
        speech = bundle.speak(
            "abcdefgh" * 4, bundles.VoiceProfile(bundle.voices[0], spectrum - 60, correction)
        )
        spectra.append(ltas.long_term_spectrum(*extract(synthesizers.FRONTEND, speech.samples))[0])
    for bright, dull in (spectra[:2], spectra[2:]):
        assert np.polyfit(np.arange(16), bright - dull, 1)[0] > 0.4


@pytest.mark.parametrize("speed", [0.5, 1.6, 2.0])
def test_speed_keeps_the_pitch(bundle, speed):
    speech = bundle.speak("aabbaabb. ccccdddd", speed=speed)
    first, second = speech.segments
    assert first.end == pytest.approx(10 * SYMBOL_SECONDS / speed, abs=0.05)
    assert second.start - first.end == pytest.approx(0.3 / speed, abs=1e-3)
    quarter = (second.end - second.start) * 4 / 9
    assert band(middle(speech.samples, second.start, second.start + quarter)) == band_of("c", 0)
    assert band(
        middle(speech.samples, second.start + quarter, second.start + 2 * quarter)
    ) == band_of("d", 0)


@pytest.mark.parametrize("speed", [0.4, 2.1, float("nan")])
def test_impossible_speed(bundle, speed):
    with pytest.raises(ConfigError, match=r"choose one from 0\.5 to 2"):
        bundle.speak("abc", speed=speed)


def test_endless_sentence_is_cut_and_named(bundle):
    with pytest.warns(UserWarning, match=r"did not come to an end and was cut: 'aq\.'") as caught:
        speech = bundle.speak("Abba. aq. Cab.")
    assert len(caught) == 1
    assert [piece.stopped for piece in speech.segments] == [True, False, True]
    assert speech.segments[1].end - speech.segments[1].start < 3
    assert spelt(speech, speech.segments[2], "cab.", voice=0)


def test_what_attention_passes_over_is_named(encoder):
    """It ends, but part of its way it is back at the beginning."""
    bundle = synthesizers.synthesizer(encoder)
    bundle.model = synthesizers.Speller(forgets=3)
    with pytest.warns(UserWarning, match=r"passes over a part of it: 'abcdefgh'"):
        (segment,) = bundle.speak("abcdefgh").segments
    assert segment.stopped
    assert bundle.speak("abc").segments[0].problem == ""


def test_a_phrase_with_a_problem_is_said_again_in_parts(encoder):
    """What is beyond the network at once is no matter in halves."""
    bundle = synthesizers.synthesizer(encoder)
    bundle.model = synthesizers.Speller(forgets=100)
    speech = bundle.convert_voice(
        tone(2.4), sample_rate=RATE
    )  # 150 frames, and warnings are errors
    assert speech.segments[0].problem == ""
    assert speech.seconds == pytest.approx(2.4, abs=0.1)
    bundle = dataclasses.replace(bundle, model=synthesizers.Speller(forgets=20))
    with pytest.warns(
        UserWarning, match=r"says a part|passes over a part of it: the phrase at 0\.0"
    ):
        bundle.convert_voice(tone(2.4), sample_rate=RATE)


@pytest.mark.parametrize("text", ["", " \n\t", "\x00\x07", "😀 😀", "… — !", "привет", "你好。"])
def test_nothing_to_say(bundle, text):
    with pytest.raises(TextError, match="nothing to say"):
        bundle.speak(text)


def test_what_cannot_be_read_is_named_and_the_rest_said(bundle):
    with pytest.warns(
        UserWarning, match=r"skipped what this voice cannot read: 😀 \(grinning face\), x"
    ):
        speech = bundle.speak("ab😀\x00 xcéd")
    assert spelt(speech, speech.segments[0], "ab ced", voice=0)
    with pytest.warns(UserWarning, match="nothing to say: this voice cannot read п"):
        speech = bundle.speak("Bad. привет. Cab.")
    assert [piece.text for piece in speech.segments] == ["Bad.", "Cab."]


def test_long_text_compiles_few_shapes(encoder):
    bundle = synthesizers.synthesizer(encoder)
    words = ["abc" * (1 + i % 3) + "." * (i % 7 == 0) for i in range(1600)]
    text = " ".join(words)
    assert len(text) > 10_000
    shapes = set()

    def vocode(constants, frames, num_frames, speed):
        shapes.add(frames.shape)
        return np.full(1, 0.1), 1

    bundle.__dict__["_vocode"] = vocode
    speech = bundle.speak(text)
    assert all(piece.stopped for piece in speech.segments)
    assert " ".join(piece.text for piece in speech.segments) == text
    assert bundle._say._cache_size() <= 2
    assert len(shapes) <= 6


def test_spelt_numbers_are_said_in_parts_that_are_not_too_long(encoder):
    table = dataclasses.replace(
        synthesizers.TABLE, symbols=(" ", *map(chr, range(97, 123)), "-", ",")
    )
    sentences = synthesizers.synthesizer(encoder, table=table)._read(
        [Sentence("abc 987654321 a 987654321 ab", 0.3)]
    )
    assert max(len(symbols) for _, symbols in sentences) <= 4 * 12
    assert " ".join(table.decode(symbols) for _, symbols in sentences) == table.spell(
        "abc 987654321 a 987654321 ab"
    )


REFERENCES = {
    "silent": (holds(np.zeros(RATE)), "silent throughout"),
    "short": (holds(verifiers.voice(0, 0.3)), r"0\.30 s of sound are too short for a voice"),
    "no speech": (holds(verifiers.noise()), "does not sound like speech"),
    **{name: BAD[name] for name in ("missing", "not audio", "nan", "truncated wav")},
}


@pytest.mark.parametrize("name", REFERENCES)
def test_bad_reference_is_named(bundle, tmp_path, name):
    make, message = REFERENCES[name]
    path = tmp_path / f"{name}.wav"
    make(path)
    with pytest.raises(AudioError, match=rf"{name}\.wav: .*{message}"):
        bundle.speak("abc", [bundle.names[0], path])


def test_unknown_name_is_told_the_known_ones(bundle):
    with pytest.raises(
        AudioError, match=r"Middle: no such file, nor a voice of this bundle \(Low, High\)"
    ):
        bundle.speak("abc", "Middle")


def test_saved_voice_of_another_kind_of_bundle_is_refused(bundle, tmp_path, monkeypatch):
    """One that was saved without a spectrum, where the network needs it."""
    monkeypatch.setattr(saved_voices, "FOLDER", tmp_path / "voices")
    profile = bundles.VoiceProfile(bundle.voices[0])
    saved_voices.save("anna", profile, bundle.encoder_fingerprint, "mine")
    with pytest.raises(ConfigError, match="anna: saved for another kind of bundle; save it again"):
        bundle.speak("abc", "anna")


def test_long_reference_is_heard_at_its_beginning(bundle, tmp_path):
    beginning = np.tile(verifiers.voice(0), 60)
    files.write(
        tmp_path / "long.wav", np.concatenate([beginning, np.tile(verifiers.voice(1), 60)]), RATE
    )
    assert bundle.clone_voice(tmp_path / "long.wav").embedding @ bundle.voices[0] > 0.99


def test_reference_is_repaired_first(encoder):
    class Swap:
        def repair(self, samples, rate):
            assert rate == RATE
            return verifiers.voice(1)

    bundle = synthesizers.synthesizer(encoder)
    bundle.__dict__["_repairer"] = Swap()
    assert (
        bundle.clone_voice(verifiers.voice(0), RATE, repair=True).embedding @ bundle.voices[1]
        > 0.99
    )
    assert bundle.clone_voice(verifiers.voice(0), RATE).embedding @ bundle.voices[0] > 0.99


def test_the_repairer_is_the_one_that_the_bundle_names(encoder, tmp_path, monkeypatch):
    for helper in (repairers, synthesizers):
        helper.register(monkeypatch)
    bundles.save(tmp_path / "mend", repairers.repairer(), "")
    bundle = synthesizers.synthesizer(encoder, repairer=str(tmp_path / "mend"))
    bundles.save(tmp_path / "speaks", bundle, "")
    shutil.rmtree(tmp_path / "mend")
    # What a bundle names is taken along: when it is moved, and when it is saved in its own place.
    place = (tmp_path / "speaks").rename(tmp_path / "elsewhere")
    bundles.save(place, bundles.load(place), "")
    assert str(tmp_path) not in (place / "bundle.json").read_text()
    bundle = bundles.load(place)
    assert bundle.repairer == str(place / "repairer")
    assert (
        bundle.clone_voice(verifiers.voice(0), RATE, repair=True).embedding @ bundle.voices[0]
        > 0.99
    )
    assert bundle._repairer.name == "mended"
    bundle = synthesizers.synthesizer(encoder, repairer=str(encoder))
    with pytest.raises(BundleError, match="a verification bundle where recordings are to be"):
        bundle.clone_voice(verifiers.voice(0), RATE, repair=True)


def test_only_the_bundle_that_heard_the_voices_hears_more(encoder):
    known = bundles.load(encoder).fingerprint
    assert synthesizers.synthesizer(encoder, encoder_fingerprint=known).clone_voice(
        verifiers.voice(0), RATE
    ).embedding.shape == (64,)
    with pytest.raises(BundleError, match="not the speaker bundle that parrot was trained with"):
        synthesizers.synthesizer(encoder, encoder_fingerprint="0123").clone_voice(
            verifiers.voice(0), RATE
        )
    with pytest.raises(BundleError, match="no bundle here"):
        synthesizers.synthesizer("nowhere").clone_voice(verifiers.voice(0), RATE)


def test_revoice(bundle, tmp_path):
    """Phrases keep their place and length, whatever the recording's rate and channels."""
    silence = np.zeros(44100)
    sound = np.concatenate([silence, tone(1.5, 44100), silence, tone(0.7, 44100), silence])
    soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], axis=1), 44100)
    done = []
    speech = bundle.convert_voice(tmp_path / "a.wav", "High", progress=done.append)
    assert [(piece.start, piece.end) for piece in speech.segments] == [
        pytest.approx((1.0, 2.5), abs=0.12),
        pytest.approx((3.5, 4.2), abs=0.12),
    ]
    assert speech.seconds == pytest.approx(5.2, abs=0.1)
    assert sum(done) == pytest.approx(5.2)
    assert {band(middle(speech.samples, piece.start, piece.end)) for piece in speech.segments} == {
        8
    }
    faster = bundle.convert_voice(sound, "High", sample_rate=44100, speed=2.0)
    assert faster.seconds == pytest.approx(2.6, abs=0.1)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.zeros(RATE, np.float32), AudioError, "silent throughout"),
        ("nowhere.wav", AudioError, "no such file"),
        (np.full(RATE, np.nan, np.float32), AudioError, "NaN"),
    ],
)
def test_bad_recording_to_revoice(bundle, source, error, message):
    with pytest.raises(error, match=message):
        bundle.convert_voice(source, sample_rate=RATE)


def test_source_that_was_not_learnt(encoder):
    with pytest.raises(ConfigError, match="parrot: speaks from text only"):
        synthesizers.synthesizer(encoder, sources=("text",)).convert_voice(tone(), sample_rate=RATE)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff"])
def test_every_file_says_that_it_is_synthetic(bundle, tmp_path, suffix):
    speech = bundle.speak("abcdefg", "High")
    speech.write(tmp_path / f"a{suffix}")
    with soundfile.SoundFile(tmp_path / f"a{suffix}") as file:
        assert (
            file.comment
            == "synthetic speech, made by lin_jax with the bundle parrot in the voice High"
        )
    samples, rate = files.read(tmp_path / f"a{suffix}")
    assert len(samples) / rate == pytest.approx(speech.seconds, abs=0.1)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(10 ** (-25 / 20), rel=0.2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.au", "AU cannot carry the comment"),
        ("a.doc", r"no audio format is called \.doc"),
        ("nowhere/a.wav", "not written"),
    ],
)
def test_unwritable(bundle, tmp_path, name, message):
    with pytest.raises(AudioError, match=message):
        bundle.speak("abc").write(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_kinds_of_bundles_know_it(tmp_path, encoder, bundle):
    saved = bundles.save(tmp_path / "parrot", synthesizers.synthesizer(encoder), "")
    assert json.loads((saved / "bundle.json").read_text())["voices"] == [
        {"name": "Low", "sex": "male"},
        {"name": "High", "sex": "female"},
    ]
    assert folder.KINDS["synthesis"] is bundles.Synthesizer
    np.testing.assert_array_equal(
        bundles.load(saved).speak("abc").samples, bundle.speak("abc").samples
    )


def test_speaks_by_its_vocoder(encoder, tmp_path):
    sound = bundles.save(tmp_path / "sound", synthesizers.vocoder(), "")
    bundle = synthesizers.synthesizer(encoder, vocoder=str(sound))
    with_it = bundle.speak("Hab.", "Low")
    without = synthesizers.synthesizer(encoder).speak("Hab.", "Low")
    assert spelt(with_it, with_it.segments[0], "hab.", 0)
    assert with_it.seconds == without.seconds
    assert np.abs(with_it.samples - without.samples).max() > 1e-3
    other = bundles.save(
        tmp_path / "other",
        synthesizers.vocoder(dataclasses.replace(synthesizers.FRONTEND, level_db=-20.0)),
        "",
    )
    for wrong in (other, encoder):
        with pytest.raises(BundleError, match="no vocoder of such frames"):
            synthesizers.synthesizer(encoder, vocoder=str(wrong)).speak("Hab.")
