"""A synthesizer by durations: when words are said, and that nothing sounds wrong without a word."""

import jax
import numpy as np
import pytest
from helpers import synthesizers
from helpers.synthesizers import FRONTEND, TABLE, M

from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.errors import AudioError
from lin_jax.models.acoustic import AcousticModel
from lin_jax.tasks.acoustic import AcousticSynthesis

NETWORK = AcousticModel(M, len(TABLE), 8, 8, 4, 16, (1, 2), dropout=0.0)
HOP = FRONTEND.hop_length / FRONTEND.sample_rate
EACH = 6  # frames of a symbol
LOUD, SILENT, BROKEN = 0.0, -3.0, np.nan  # levels of frames, normalised


def make_bundle(each=EACH) -> FlowSynthesizer:
    """Untrained; every symbol lasts as many frames."""
    base = synthesizers.synthesizer(sources=("text",))
    task = AcousticSynthesis(NETWORK, FRONTEND, base.mean, base.std, base.voices.shape[1])
    variables = jax.tree.map(np.asarray, task.init(jax.random.key(0)))
    variables["params"]["log_duration"]["bias"] = np.log(np.float32([each]))
    settings = {"names": base.names, "sexes": base.sexes, "table": TABLE}
    return FlowSynthesizer(
        "flow", NETWORK, FRONTEND, variables, base.mean, base.std, base.voices, **settings
    )


@pytest.fixture(scope="module")
def bundle():
    return make_bundle()


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


def test_draws_by_its_task(bundle):
    """Frames come of the network; another seed gives others, the same seed the same."""
    bundle.__dict__.pop("_draw", None)
    sources = [TABLE.encode("abba cab.")]
    drawn = bundle._frames(sources, bundle.clone_voice("Low"), 1.0)
    again = bundle._frames(sources, bundle.clone_voice("Low"), 1.0)
    np.testing.assert_array_equal(drawn[0][0], again[0][0])
    assert len(drawn[0][0]) == drawn[0][1].sum() == EACH * len(sources[0])


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
    [(1, r"is said at 62 sounds a second"), (25, r"is said at 2 sounds a second")],
)
def test_impossible_pace_is_named(each, problem):
    bundle = make_bundle(each)
    draws(bundle, LOUD)
    with pytest.warns(UserWarning, match=problem):
        bundle.speak("abba cab.")


def test_a_sound_that_is_held_is_named(bundle):
    symbols, durations = TABLE.encode("abba"), np.array([6, 6, 60, 6, 6])
    frames = np.tile(bundle.mean, (durations.sum(), 1))
    assert bundle._problem(symbols, frames, durations, 1.0) == "holds a sound for 1.0 s"
    assert bundle._problem(symbols, frames, durations, 0.5) == ""  # at that speed it is right


def test_nothing_to_be_heard_is_an_error(bundle):
    draws(bundle, BROKEN)
    with pytest.raises(AudioError, match="flow: what it speaks is silent"):
        bundle.speak("abba.")
