"""What is said in recordings: Whisper, Moonshine or pocketsphinx, whichever is installed.

Shape letter: N samples.
"""

import importlib.util
from collections.abc import Iterator, Sequence

import numpy as np

from lin_jax.errors import ConfigError
from lin_jax.metrics import transcription

RATE = transcription.RATE  # of the waveforms
GROUP = 8  # clips that pocketsphinx is given at once
WHISPER = "base"  # the model, downloaded once

Transcripts = Iterator[tuple[str, float | None]]


def whisper(clips: Sequence[np.ndarray]) -> Transcripts:
    """Texts of waveforms [N] at `RATE` by faster-whisper, each with the mean probability of its parts.

    A. Radford et al., "Robust speech recognition via large-scale weak supervision", ICML 2023.

    Raises:
        ConfigError: it is not installed.
    """
    _check("whisper")
    import faster_whisper

    model = faster_whisper.WhisperModel(WHISPER, compute_type="int8")
    for samples in clips:
        segments = list(model.transcribe(samples.astype(np.float32))[0])
        probability = np.exp(np.mean([part.avg_logprob for part in segments])) if segments else 0.0
        yield " ".join(part.text.strip() for part in segments), float(probability)


def moonshine(clips: Sequence[np.ndarray]) -> Transcripts:
    """The same by Moonshine tiny, for English; it tells no probability, which is None.

    N. Jeffries et al., "Moonshine: speech recognition for live transcription and voice commands",
    2024.

    Raises:
        ConfigError: it is not installed.
    """
    _check("moonshine")
    import moonshine_voice

    path = str(moonshine_voice.get_model_path("tiny-en"))
    model = moonshine_voice.Transcriber(path, moonshine_voice.ModelArch.TINY)
    for samples in clips:
        spoken = model.transcribe_without_streaming(samples.tolist(), RATE)
        yield " ".join(line.text for line in spoken.lines), None


def pocketsphinx(clips: Sequence[np.ndarray]) -> Transcripts:
    """The same by pocketsphinx, which is often wrong; see `transcription.recognise`."""
    for start in range(0, len(clips), GROUP):
        for text in transcription.recognise(clips[start : start + GROUP], RATE):
            yield text, None


RECOGNISERS = {"whisper": whisper, "moonshine": moonshine, "pocketsphinx": pocketsphinx}
PACKAGES = {  # that are no extras of ours: what is imported, and what is installed
    "whisper": ("faster_whisper", "faster-whisper"),
    "moonshine": ("moonshine_voice", "moonshine-voice==0.0.49"),  # later wheels have no model
}


def installed() -> list[str]:
    """Names of the recognisers that are good and installed, the best first."""
    return [name for name, (package, _) in PACKAGES.items() if importlib.util.find_spec(package)]


def transcribe(samples: np.ndarray) -> str:
    """What is said in a waveform [N] at `RATE`, by the best recogniser that is installed.

    Raises:
        ConfigError: neither Whisper nor Moonshine is.
    """
    if not (names := installed()):
        raise ConfigError(
            "no recogniser is installed: pip install faster-whisper, or, for English without a "
            f"download later, pip install {PACKAGES['moonshine'][1]}"
        )
    ((text, _),) = RECOGNISERS[names[0]]([samples])
    return text


def _check(recogniser: str):
    if recogniser not in installed():
        raise ConfigError(f"{recogniser} is not installed: pip install {PACKAGES[recogniser][1]}")
