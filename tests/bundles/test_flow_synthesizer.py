"""A synthesizer by durations: when words are said, and that nothing sounds wrong without a word."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers import synthesizers, verifiers
from helpers.synthesizers import FRONTEND, RATE, TABLE, M

from lin_jax import bundles
from lin_jax.audio import mixing
from lin_jax.bundles import flow_synthesizer, saved_voices
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.bundles.synthesizer import _Job, _Sound
from lin_jax.errors import AudioError, ConfigError, TextError
from lin_jax.models.acoustic import PROSODY_MEAN, PROSODY_SCALE, AcousticModel
from lin_jax.tasks.acoustic import AcousticSynthesis
from lin_jax.text import SymbolTable

NETWORK = AcousticModel(M, len(TABLE), 8, 8, 4, 16, 12, (1, 2), dropout=0.0, content_dilations=())
HOP = FRONTEND.hop_length / FRONTEND.sample_rate
EACH = 6  # frames of a symbol
LOUD, SILENT, BROKEN = 0.0, -3.0, np.nan  # levels of frames, normalised


@pytest.fixture(scope="module")
def bundle() -> FlowSynthesizer:
    """Untrained; every symbol lasts `EACH` frames."""
    base = synthesizers.synthesizer(sources=("text",))
    task = AcousticSynthesis(NETWORK, FRONTEND, base.mean, base.std, base.voices.shape[1])
    variables = jax.tree.map(np.array, jax.jit(task.init)(jax.random.key(0)))
    *_, last = sorted(
        variables["params"]["prosody"], key=lambda name: name.rpartition("_")[2].zfill(2)
    )
    bias = variables["params"]["prosody"][last][
        "bias"
    ]  # of the velocity, which is this all the way
    bias[0] = (np.log(EACH) - PROSODY_MEAN[0]) / PROSODY_SCALE[0]
    settings = {"names": base.names, "sexes": base.sexes, "table": TABLE}
    return FlowSynthesizer(
        "flow", NETWORK, FRONTEND, variables, base.mean, base.std, base.voices, **settings
    )


def draws(bundle, *levels) -> list:
    """Let frames of these levels be drawn, one after the other; the seeds that are asked for."""
    seeds = []

    def draw(constants, encoded, voices, durations, seed, *, max_frames):
        level = levels[min(len(seeds), len(levels) - 1)]
        seeds.append(int(seed))
        frames = bundle.mean + bundle.std * np.full((len(durations), max_frames, M), level)
        return np.float32(frames), durations.sum(axis=1)

    bundle.__dict__["_draw"] = draw
    return seeds


def test_times_of_words(bundle):
    """A silence of a symbol comes first; then each word lasts as long as its symbols."""
    draws(bundle, LOUD)
    (segment,) = bundle.speak("abba cab.").segments
    assert segment.problem == ""
    starts_ends = [(1, 5), (6, 9)]
    for (word, start, end), (first, last) in zip(segment.words, starts_ends, strict=True):
        assert word in ("abba", "cab")
        assert (start, end) == pytest.approx((first * EACH * HOP, last * EACH * HOP))


def test_words_that_are_joined_in_symbols_share_their_time(bundle):
    pytest.importorskip("espeakng_loader")
    reader = dataclasses.replace(bundle, table=SymbolTable((), "en-us", "phonemes"))
    sound = _Sound(np.zeros(1), words=(("ɪnðə", 1.0, 2.0), ("kˈæb", 2.0, 2.5)))
    (spelt,) = reader._spelt([sound], ["In the cab."])
    assert spelt.words == (("in", 1.0, 1.4), ("the", 1.4, 2.0), ("cab", 2.0, 2.5))
    assert reader._spelt([sound], ["One cab is here."]) == [sound]  # rather than wrong times


def test_draws_by_its_task(bundle):
    """Frames come of the network; another seed gives others, the same seed the same."""
    bundle.__dict__.pop("_draw", None)
    jobs = [_Job(TABLE.encode("abba cab."), 1.0, 1.0)]
    ((frames, (symbols, durations), _),) = bundle._said(jobs, bundle.clone_voice("Low"), 1.0)
    ((again, *_),) = bundle._said(jobs, bundle.clone_voice("Low"), 1.0)
    np.testing.assert_array_equal(frames, again)
    np.testing.assert_array_equal(symbols, bundle._framed(jobs[0].source))
    assert len(frames) == durations.sum() == EACH * len(symbols)


@pytest.mark.parametrize("wrong", [SILENT, BROKEN])
def test_what_sounds_wrong_is_drawn_again(bundle, wrong):
    seeds = draws(bundle, wrong, LOUD)
    assert bundle.speak("abba.").segments[0].problem == ""  # and warnings are errors
    assert seeds == [0, 1]


def test_what_stays_wrong_is_named(bundle):
    seeds = draws(bundle, SILENT)
    with pytest.warns(UserWarning, match=r"is silent at 'abba': 'abba cab\.'"):
        speech = bundle.speak("abba cab.")
    assert seeds == [0, 1, 2]
    assert speech.segments[0].problem == "is silent at 'abba'"
    assert speech.segments[0].stopped
    with pytest.warns(UserWarning, match="is silent at 'cab'"):
        assert [part.segments[0].problem != "" for part in bundle.stream("cab. cab.")] == [True] * 2


@pytest.mark.parametrize(
    ("each", "problem"),
    [(1, "is spoken at 62 sounds a second"), (25, "is spoken at 2 sounds a second")],
)
def test_impossible_pace_is_named(bundle, each, problem):
    symbols = TABLE.encode("abba")
    durations = np.full(len(symbols), each)
    frames = np.tile(bundle.mean, (durations.sum(), 1))
    assert bundle._problem(symbols, frames, durations, 1.0).startswith(problem)


def test_a_sound_that_is_held_is_named(bundle):
    symbols, durations = TABLE.encode("abba"), np.array([6, 6, 60, 6, 6])
    frames = np.tile(bundle.mean, (durations.sum(), 1))
    assert bundle._problem(symbols, frames, durations, 1.0) == "holds a sound for 1.0 s"
    assert bundle._problem(symbols, frames, durations, 0.5) == ""  # at that speed it is right


def test_nothing_to_be_heard_is_an_error(bundle):
    draws(bundle, BROKEN)
    with pytest.raises(AudioError, match="flow: what it speaks is silent"):
        bundle.speak("abba.")


def test_a_sentence_ends_in_a_mark(bundle):
    """As all that is learnt from do; without, the last word is cut off."""
    for text in ("abba.", "abba"):
        np.testing.assert_array_equal(
            bundle._framed(TABLE.encode(text)),
            np.concatenate([TABLE.encode_symbols(" "), TABLE.encode("abba.")]),
        )


def test_a_recording_is_aligned_with_its_text(bundle, monkeypatch):
    """By what its encoder of recordings takes each frame for, wrong ones among them."""
    listener, durations = listening(), np.array([4, 9, 3, 5, 8, 2, 7, 7, 3, 6, 4])
    source = listener._framed(TABLE.encode("abca bad."))
    likely = np.log(np.full((durations.sum(), len(TABLE)), 0.1))
    likely[np.arange(len(likely)), np.repeat(source, durations)] = 0.0
    likely[6] = np.log(np.eye(len(TABLE))[source[-1]] + 1e-3)

    def recognise(constants, frames, num_frames):
        return np.pad(likely, ((0, frames.shape[1] - int(num_frames[0])), (0, 0)))[None]

    monkeypatch.setitem(listener.__dict__, "_recognise", recognise)
    frames = np.zeros((len(likely), M))
    first, second = listener.align(frames, np.split(source, [5]))
    np.testing.assert_array_equal(np.concatenate([first, second]), durations)
    assert len(first) == 5
    with pytest.raises(TextError, match="longer than what is said"):
        listener.align(frames[:5], [source])
    with pytest.raises(ConfigError, match="speaks from text only"):
        bundle.align(frames, [source])


def test_a_recording_with_its_text_keeps_its_timing(bundle):
    """It is as long as the recording, at that speed, and says all sentences."""
    listener, given, samples = listening(), [], verifiers.voice(0)

    def convert(constants, waveform, length, voices, seed, text):
        given.append(text)
        frames = 1 + length // FRONTEND.hop_length
        shape = (len(waveform), int(frames.max()), M)
        return np.float32(listener.mean + listener.std * np.full(shape, LOUD)), frames

    listener.__dict__["_convert"] = convert
    speech = listener.convert_voice(samples, "High", RATE, text="abba cab. bad.")
    assert [segment.text for segment in speech.segments] == ["abba cab.", "bad."]
    assert speech.seconds == pytest.approx(len(samples) / RATE, abs=0.1)
    (symbols, counts, durations), *_ = given
    for text, row, count, held in zip(
        ("abba cab.", "bad."), symbols, counts, durations, strict=False
    ):
        np.testing.assert_array_equal(row[:count], listener._framed(TABLE.encode(text)))
        assert (held[:count] > 0).all()
        assert not held[count:].any()
    assert durations.sum() == 1 + len(samples) // FRONTEND.hop_length
    for segment in speech.segments:
        ends = [end for _, _, end in segment.words]
        assert ends[-1] <= segment.end + 0.01
    slow = listener.convert_voice(samples, "High", RATE, 0.5, text="abba cab. bad.")
    assert slow.seconds == pytest.approx(2 * len(samples) / RATE, abs=0.1)
    with pytest.raises(ConfigError, match="speaks from text only"):
        bundle.convert_voice(samples, "High", RATE)
    with pytest.raises(AudioError, match="300 s are too long for a text at once; cut it in parts"):
        listener.convert_voice(np.tile(samples, 150), "High", RATE, text="abba")
    other = synthesizers.synthesizer()
    with pytest.raises(ConfigError, match="parrot: converts without a text; leave it out"):
        other.convert_voice(samples, "High", RATE, text="abba")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The folder of the bundle that hears voices."""
    with pytest.MonkeyPatch.context() as patch:
        verifiers.register(patch)
        folder = tmp_path_factory.mktemp("encoder") / "voices"
        return bundles.save(folder, verifiers.verifier(), "")


def listening(encoder="speaker_encoder", **settings) -> FlowSynthesizer:
    """Untrained, with an encoder of recordings."""
    base = synthesizers.synthesizer(encoder, sources=("text", "speech"))
    network = NETWORK.clone(content_width=8, content_dilations=(1, 2))
    task = AcousticSynthesis(network, FRONTEND, base.mean, base.std, base.voices.shape[1])
    variables = jax.tree.map(np.array, jax.jit(task.init)(jax.random.key(0)))
    return FlowSynthesizer(
        *("listening", network, FRONTEND, variables, base.mean, base.std, base.voices),
        names=base.names,
        sexes=base.sexes,
        table=TABLE,
        sources=("text", "speech"),
        encoder=encoder,
        **settings,
    )


def test_recordings_without_their_text_are_converted_phrase_by_phrase():
    bundle = listening()
    samples = 0.3 * np.random.default_rng(0).normal(size=2 * RATE).astype(np.float32)
    samples[RATE // 2 : RATE] = 0.0
    speech = bundle.convert_voice(samples, "High", RATE)
    assert len(speech.segments) == 2
    assert speech.seconds == pytest.approx(2.0, abs=0.15)  # its pauses stay
    assert np.isfinite(speech.samples).all()
    slow = bundle.convert_voice(samples, "High", RATE, speed=0.5)
    assert slow.seconds == pytest.approx(4.0, abs=0.3)


def test_a_voice_is_fitted_to_clear_recordings(tmp_path, monkeypatch, encoder):
    """Recordings that are noisy or narrow, names, and other networks leave it to the embedding."""
    verifiers.register(monkeypatch)
    bundle = listening(encoder, adaptation_steps=2)
    samples = verifiers.voice(0)
    samples[RATE // 2 : RATE] *= 0.01  # a pause, in which noise would be heard
    voice = bundle.clone_voice(samples, RATE)
    assert voice.adapted == bundle.fingerprint
    plain = bundle.clone_voice(samples, RATE, adapt=False)
    assert plain.adaptation is None
    np.testing.assert_array_equal(voice.embedding, plain.embedding)
    noisy = verifiers.voice(0)  # nothing of it is quiet
    assert bundle.clone_voice(noisy, RATE).adaptation is None
    assert bundle.clone_voice(mixing.narrowband(samples, RATE), RATE).adaptation is None
    assert bundle.clone_voice([samples, "Low"], RATE).adaptation is None
    fitted, unfitted = (
        bundle.convert_voice(samples, each, RATE).samples for each in (voice, plain)
    )
    assert not np.array_equal(fitted, unfitted)
    monkeypatch.setattr(saved_voices, "FOLDER", tmp_path)
    saved_voices.save("anna", voice, bundle.encoder_fingerprint, "hers")
    again = bundle.convert_voice(samples, "anna", RATE).samples
    np.testing.assert_array_equal(again, fitted)
    bundle.variables["params"]["prior"]["bias"] += 0.1
    del bundle.__dict__["fingerprint"]
    # Once, however many batches there are, and however often they are drawn.
    with pytest.warns(UserWarning, match="saved with another synthesizer .* save it again") as told:
        bundle.convert_voice(np.tile(samples, 10), "anna", RATE)
    assert sum("another synthesizer" in str(warning.message) for warning in told) == 1


def test_the_same_recordings_are_fitted_once(monkeypatch, encoder):
    """They are known by their content, and of all voices the latest are kept."""
    verifiers.register(monkeypatch)
    bundle = listening(encoder, adaptation_steps=1)
    monkeypatch.setattr(flow_synthesizer, "FITTED_VOICES", 2)
    steps = []

    def clone(seed, speaker=0):
        samples = verifiers.voice(speaker, seed=seed)
        samples[RATE // 2 : RATE] *= 0.01
        return bundle.clone_voice(samples, RATE, progress=steps.append)

    first = clone(0)
    assert first.adaptation is not None
    assert clone(0) is first
    assert steps == [1]
    assert clone(1) is not first
    assert clone(0) is first  # so that the other one is the oldest
    clone(2)
    assert clone(0) is first
    assert steps == [1] * 3
    clone(1)
    assert steps == [1] * 4
