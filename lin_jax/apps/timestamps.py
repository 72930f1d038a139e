"""When each word is spoken, as subtitles or JSON: what `lin speak --timestamps` writes."""

import json
import pathlib
from typing import TYPE_CHECKING

from lin_jax import durable
from lin_jax.errors import ConfigError

if TYPE_CHECKING:
    from lin_jax.bundles import Speech

SUFFIXES = (".srt", ".vtt", ".json")


def check(path: str):
    """Raises ConfigError unless a format goes by the suffix of a path."""
    if pathlib.Path(path).suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: times of words are written as {', '.join(SUFFIXES)}")


def write(path: str, speech: "Speech"):
    """Write the words of speech with their times, whole or not at all.

    Args:
        path: its suffix names the format.
        speech: as for `render`.

    Raises:
        ConfigError: as for `render`, or the file cannot be written.
    """
    target = pathlib.Path(path)
    content = render(speech, target.suffix.lower())
    try:
        with durable.replacing(target) as part:
            part.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another place"
        ) from None


def render(speech: "Speech", suffix: str) -> str:
    """The words of speech with their times.

    Args:
        speech: whose segments have words.
        suffix: ".srt", ".vtt" or ".json".

    Raises:
        ConfigError: the network does not give the times of words.
    """
    words = [word for segment in speech.segments for word in segment.words]
    if not words:
        raise ConfigError(
            "this bundle does not tell when it says a word; use one that has durations"
        )
    if suffix == ".json":
        rows = [{"word": w, "start": round(a, 3), "end": round(b, 3)} for w, a, b in words]
        return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
    comma, head = (",", "") if suffix == ".srt" else (".", "WEBVTT\n\n")
    cues = (
        f"{number}\n{_clock(start, comma)} --> {_clock(end, comma)}\n{word}\n"
        for number, (word, start, end) in enumerate(words, 1)
    )
    return head + "\n".join(cues)


def _clock(seconds: float, comma: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    whole, part = divmod(milliseconds, 1000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{whole:02d}{comma}{part:03d}"
