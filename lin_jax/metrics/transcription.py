"""Word error rates by an offline recogniser: how well speech is understood, with nobody listening.

Shape letter: N samples.
"""

import concurrent.futures
import importlib.metadata
import importlib.util
import multiprocessing
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lin_jax import text
from lin_jax.errors import ConfigError

RATE = 16000  # of the recogniser's acoustic model
PAUSE_SECONDS = 0.25  # before and after a clip, which may begin with its first sound
NOISE = 1e-4  # amplitude of a hiss below it: no model knows digital silence


def recognise(
    clips: Sequence[np.ndarray], sample_rate: int, texts: Iterable[Sequence[str]] = ()
) -> list[str]:
    """Transcriptions by pocketsphinx, with its acoustic model of American English.

    D. Huggins-Daines et al., "PocketSphinx: a free, real-time continuous speech recognition system
    for hand-held devices", ICASSP 2006. It needs the `eval` extra.

    Args:
        clips: waveforms [N] of any lengths.
        sample_rate: of all of them, in Hz.
        texts: words of sentences; what is expected is what stands in them, by a trigram model.
            Without any it is general English, which takes eight times as long, a third of the
            clips' time on a core.

    Returns:
        The words of each clip with spaces between them.

    Raises:
        ConfigError: pocketsphinx is not installed.
    """
    if not installed():
        raise ConfigError("pocketsphinx is not installed: pip install 'lin_jax[eval]'")
    recordings = [_recording(samples, sample_rate) for samples in clips]
    workers = max(1, min(os.cpu_count() or 1, len(recordings)))
    # Pocketsphinx keeps Python's lock, and a fork would take JAX's threads away.
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        model = _language_model(texts, os.path.join(folder, "texts.arpa"))
        with concurrent.futures.ProcessPoolExecutor(workers, context, _start, model) as pool:
            return list(pool.map(_transcribe, recordings))


def installed() -> bool:
    """Whether `recognise` can work."""
    return importlib.util.find_spec("pocketsphinx") is not None


def name() -> str:
    """The recogniser and its version, to stand beside a figure."""
    return f"pocketsphinx {importlib.metadata.version('pocketsphinx')}"


def words(sentence: str, language: str = "en") -> list[str]:
    """A text as words that can be compared: as spoken, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.normalise(sentence, language))


def _recording(samples, sample_rate: int) -> bytes:
    """A waveform [N] as the recogniser takes it: 16-bit samples at its rate."""
    from lin_jax.audio import files

    samples = files.resample(np.asarray(samples, np.float32), sample_rate, RATE)
    samples = np.pad(samples, round(PAUSE_SECONDS * RATE))
    samples = samples + NOISE * np.random.default_rng(0).standard_normal(len(samples))
    return np.rint(32767 * np.clip(samples, -1, 1)).astype(np.int16).tobytes()


def _language_model(texts, path) -> tuple[tuple[str, str], ...]:
    """Write the model of some texts, if there are any; the decoder's options for it."""
    from pocketsphinx.lm import ArpaBoLM

    lines = [" ".join(words) for words in texts]
    if not lines:
        return ()
    model = ArpaBoLM(text="\n".join(lines), add_start=True)
    model.compute()
    model.write_file(path)
    return (("lm", path),)


_decoder: Any = None


def _start(*options):
    """Load the models, once in each worker."""
    global _decoder
    from pocketsphinx import Decoder

    _decoder = Decoder(samprate=RATE, loglevel="FATAL", **dict(options))


def _transcribe(recording: bytes) -> str:
    _decoder.reinit_feat()  # it would go on with the mean spectrum of the clips before
    _decoder.start_utt()
    _decoder.process_raw(recording, full_utt=True)
    _decoder.end_utt()
    hypothesis = _decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


def edit_distance(reference, hypothesis):
    """Levenshtein distance: insertions, deletions and substitutions from one sequence to another.

    Of words, divided by those of the reference, it is the word error rate.
    """
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, 1):
        above, row = row, [i]
        for j, word in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (wanted != word)))
    return row[-1]
