"""Consent by proof: whoever owns a voice reads a sentence aloud that nobody could know before.

The sentence is drawn at random and is good for a few minutes. What was read is accepted if a
recogniser finds its words, if the verifier finds that it is the voice of the recordings, and if it
does not carry the watermark of generated speech.
"""

import dataclasses
import json
import secrets
import time
from collections.abc import Sequence

from lin_jax import private
from lin_jax.bundles import saved_voices
from lin_jax.errors import ConfigError, ConsentError
from lin_jax.metrics import transcription

VALID_SECONDS = 600.0
MAX_WORD_ERROR = 0.34
SENTENCES = 400  # that the recogniser expects, of which the one that was shown is none
# A sentence takes one of each: eight to the ninth, 134 million.
WORDS = (
    ["seven", "eleven", "twenty", "thirty", "forty", "sixty", "eighty", "ninety"],
    ["yellow", "purple", "silver", "golden", "crimson", "orange", "wooden", "paper"],
    ["bottles", "ladders", "baskets", "candles", "letters", "blankets", "hammers", "mirrors"],
    ["follow", "carry", "remember", "deliver", "visit", "discover", "welcome", "borrow"],
    ["hungry", "gentle", "clever", "famous", "nervous", "lucky", "careful", "noisy"],
    ["farmers", "dancers", "doctors", "teachers", "sailors", "painters", "soldiers", "gardeners"],
    ["behind", "beneath", "beside", "above", "around", "near", "outside", "toward"],
    ["ancient", "narrow", "frozen", "quiet", "distant", "broken", "sunny", "hidden"],
    ["villages", "harbors", "mountains", "castles", "gardens", "markets", "rivers", "kitchens"],
)


@dataclasses.dataclass(frozen=True)
class Task:
    """A sentence that somebody is to read aloud.

    Attributes:
        sentence: its words, in lower case.
        asked: when it was drawn, in seconds since 1970.
    """

    sentence: str
    asked: float


def ask(name: str) -> str:
    """Draw the sentence that the owner of a voice is to read aloud, in place of one drawn before.

    Args:
        name: under which the voice is to be kept.

    Returns:
        The sentence.

    Raises:
        ConfigError: the name cannot be one, or the disk does not take it.
    """
    task, path = Task(_draw(), time.time()), _path(name)
    try:
        private.make_folder(path.parent, ConfigError)
        private.replace_text(path, json.dumps(dataclasses.asdict(task)))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another place"
        ) from None
    return task.sentence


def prove(name: str, clips: Sequence[str], recording: str, verifier) -> str:
    """Accept what was read aloud as consent, once.

    Args:
        name: for which the sentence was drawn.
        clips: paths of the recordings whose voice is to be kept.
        recording: path of what was read aloud.
        verifier: a `Verifier`.

    Returns:
        The consent in words, for the voice file.

    Raises:
        ConsentError: no sentence was drawn, or it is too old; other words were read, by another
            voice, or by a synthesizer.
        AudioError: a recording cannot be used.
        ConfigError: the recogniser is not installed.
    """
    from lin_jax.audio import files, watermark

    task = _task(name)
    samples, rate = files.read(recording, transcription.RATE)
    if watermark.detect(samples, rate).marked:
        raise ConsentError(f"{recording}: carries the mark of generated speech; read it yourself")
    expected = (_draw().split() for _ in range(SENTENCES))
    (read,) = transcription.recognise([samples], rate, expected)
    wanted = task.sentence.split()
    error = transcription.edit_distance(wanted, read.split()) / len(wanted)
    if error > MAX_WORD_ERROR:
        raise ConsentError(
            f"{recording}: {read or 'nothing'!r} was understood in place of {task.sentence!r}; read "
            "it again, slowly, or draw another with lin voice sentence"
        )
    verdict = verifier.verify([recording], list(clips))
    if verdict.decision != "same":
        reason = verdict.reason or f"{verdict.probability:.0%} same speaker"
        raise ConsentError(f"{recording}: not surely the voice of the recordings ({reason})")
    _path(name).unlink()
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return (
        f"proved on {day}: {task.sentence!r} was read aloud, {verdict.probability:.0%} by the same "
        "speaker"
    )


def _draw() -> str:
    """A sentence that nobody can know before."""
    return " ".join(secrets.choice(words) for words in WORDS)


def _path(name: str):
    """Where the sentence for a voice is kept, beside the voice."""
    return saved_voices.path_of(name).with_name(f"{name}.sentence.json")


def _task(name: str) -> Task:
    """The sentence that was drawn; ConsentError if there is none that is still good."""
    draw = f"draw one with lin voice sentence {name}"
    try:
        task = Task(**json.loads(_path(name).read_text(encoding="utf-8")))
        age = time.time() - task.asked
    except (OSError, ValueError, TypeError):
        raise ConsentError(f"{name}: no sentence was drawn for this voice; {draw}") from None
    if not 0 <= age <= VALID_SECONDS:
        raise ConsentError(f"{name}: the sentence is too old; {draw}")
    return task
