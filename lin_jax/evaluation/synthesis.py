"""How a synthesizer says sentences that it was not trained on, beside the people who said them.

Shape letters: B sentences, N samples.
"""

import concurrent.futures
import dataclasses
import math
import os
import pathlib
import time
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from lin_jax import metrics
from lin_jax.audio import files, frontend, griffin_lim
from lin_jax.bundles import Speech, Synthesizer, load_vocoder
from lin_jax.errors import ConfigError
from lin_jax.evaluation.speaker_similarity import SpeakerProfiles
from lin_jax.metrics import audio as audio_metrics
from lin_jax.metrics import transcription
from lin_jax.reporting import html, plots

SYSTEMS = {
    "generated": "from the text",
    "converted": "from a recording by somebody else",
    "vocoded": "by the vocoder alone, from the true mel frames",
    "original": "by the speaker",
}
METRICS = {
    "word_error": "word error rate",
    "similarity": "speaker similarity",
    "speaker_top1": "speaker top-1",
    "mcd": "MCD, dB",
    "pitch": "log-F0 RMSE",
    "duration": "duration ratio",
    "problems": "sentences named as problems",
}
MIN_SECONDS = 0.1  # of less nothing is measured


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence to say.

    Attributes:
        text: what to say.
        speaker: in whose voice.
        kind: "seen" in training or "unseen".
        original: path of the speaker's own recording of it.
        references: the name of a voice of the bundle, or paths to clone the voice from.
        source: path of a recording to convert; "" for none.
        source_text: the words of that.
    """

    text: str
    speaker: str
    kind: str
    original: str
    references: tuple[str, ...]
    source: str = ""
    source_text: str = ""


def evaluate(
    bundle: Synthesizer,
    sentences: Sequence[Sentence],
    profiles: SpeakerProfiles,
    known_texts: Sequence[str] = (),
    *,
    recorded: bool = True,
) -> tuple[dict, dict[str, list[Speech | None]]]:
    """Say every sentence from its text, from a recording, and by the vocoder alone, and compare.

    Args:
        bundle: the synthesizer; what it does not say, text or recordings, is left out.
        sentences: B of them.
        profiles: of the voices to compare with.
        known_texts: what the recogniser takes to be likely; any English if there are none.
        recorded: whether the recordings are measured too, as they are and by the vocoder alone.

    Returns:
        The results: "real_time_factor", "tools", "qualities", of the texts and the vocoder the parts
        of `audio.Quality` of each sentence or None (B), and "voices": of each kind "clips", "speakers" and
        "systems", and there of each of `SYSTEMS` each of `METRICS` with its "value" and 95 % interval over
        the speakers, or over the clips of a single one. And the speech (B) of each system, None where there is none.

    Raises:
        ConfigError: no sentences, or librosa is missing, by which the pitch is found.
    """
    if not sentences:
        raise ConfigError("no sentences to evaluate on: raise hold_out_texts")
    if not audio_metrics.installed(audio_metrics.pitch_contour):
        raise ConfigError("the pitch is found by librosa: pip install 'lin_jax[eval]'")
    speech, problems, factor = _speak(bundle, sentences)
    if recorded:
        speech["vocoded"] = _resynthesize(bundle, [s.original for s in sentences])
    rate = bundle.frontend.sample_rate
    waves = {
        name: [made and made.samples for made in row] for name, row in speech.items() if any(row)
    }
    originals = [files.load(s.original, bundle.frontend) for s in sentences]
    if recorded:
        waves["original"] = originals
    values: dict[str, dict] = {}
    qualities: dict[str, list] = {}
    for name, row in waves.items():
        values[name] = {}
        if name != "original":
            values[name], qualities[name] = _compare(originals, row, rate)
        there = [i for i, samples in enumerate(row) if samples is not None]
        chosen = [sentences[i] for i in there]
        similarity = profiles.compare(
            [row[i] for i in there] if name != "original" else [s.original for s in chosen],
            [s.speaker for s in chosen],
            [(s.original, *s.references) for s in chosen],
        )
        for metric, numbers in similarity.items():
            values[name][metric] = _spread(numbers, there, len(row))
    values = {name: row | problems.get(name, {}) for name, row in values.items()}
    values["converted"] = {
        metric: numbers
        for metric, numbers in values.get("converted", {}).items()
        if metric not in ("mcd", "pitch", "duration")  # another sentence is spoken
    }
    words, tools = _word_errors(bundle, sentences, waves, values, known_texts)
    qualities.pop("converted", None)  # another sentence is spoken
    results = {"real_time_factor": factor, "tools": tools, "qualities": qualities, "voices": {}}
    speakers = np.array([s.speaker for s in sentences])
    for kind in dict.fromkeys(s.kind for s in sentences):
        mask = np.array([s.kind == kind for s in sentences])
        results["voices"][kind] = {
            "clips": int(mask.sum()),
            "speakers": len(np.unique(speakers[mask])),
            "systems": {
                name: {
                    metric: metrics.mean_with_interval(
                        numbers[mask],
                        speakers[mask],
                        words[name][mask] if metric == "word_error" else None,
                    )
                    for metric, numbers in row.items()
                    if not np.isnan(numbers[mask]).all()
                }
                for name, row in values.items()
                if row
            },
        }
    return results, speech


def _speak(bundle: Synthesizer, sentences):
    """The speech of each system, its problems, and the real-time factor from text."""
    speech: dict[str, list] = {name: [None] * len(sentences) for name in list(SYSTEMS)[:3]}
    problems = {name: np.full(len(sentences), np.nan) for name in ("generated", "converted")}
    voices, spent, seconds = {}, 0.0, 0.0
    for i, sentence in enumerate(sentences):
        if sentence.references not in voices:
            voices[sentence.references] = bundle.clone_voice(list(sentence.references))
        voice = voices[sentence.references]
        jobs = {}
        if "text" in bundle.sources:
            jobs["generated"] = lambda s=sentence, v=voice: bundle.speak(s.text, v)
        if "speech" in bundle.sources and sentence.source:
            jobs["converted"] = lambda s=sentence, v=voice: bundle.convert_voice(s.source, v)
        for name, job in jobs.items():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                began = time.perf_counter()
                speech[name][i] = made = job()
                problems[name][i] = float(len(caught) > 0)
            if i:  # the first compiles
                spent, seconds = spent + time.perf_counter() - began, seconds + made.seconds
    return (
        speech,
        {name: {"problems": numbers} for name, numbers in problems.items()},
        spent / seconds if seconds else None,
    )


def _resynthesize(bundle: Synthesizer, paths) -> list[Speech]:
    """Recordings through their own mel frames."""
    import jax

    vocoder = load_vocoder(bundle.vocoder, bundle.frontend)
    rate, hop = bundle.frontend.sample_rate, bundle.frontend.hop_length

    @jax.jit
    def resynthesize(constants, waveform, length):
        frames, count = frontend.extract(bundle.frontend, waveform, length)
        if vocoder:
            return vocoder.vocode(constants, frames, count)
        return griffin_lim.mel_to_waveform(bundle.frontend, frames, count)

    made, constants = [], vocoder.constants if vocoder else ()
    for path in paths:
        samples = files.load(path, bundle.frontend)
        size = 4 * rate * math.ceil(len(samples) / (4 * rate)) // hop * hop  # few are compiled
        padded = np.zeros((1, max(size, len(samples))), np.float32)
        padded[0, : len(samples)] = samples
        waveform, length = resynthesize(constants, padded, np.array([len(samples)], np.int32))
        samples, maker = np.asarray(waveform[0])[: int(length[0])], bundle.vocoder or "Griffin-Lim"
        made.append(Speech.marked(samples, rate, (), f"made of mel frames by {maker}"))
    return made


def _compare(originals, row, rate: int) -> tuple[dict[str, np.ndarray], list[dict | None]]:
    """How near speech comes to the originals.

    Returns:
        Of each metric [B], NaN for what is hardly there, and the parts of the quality (B).
    """
    measured = audio_metrics.installed(audio_metrics.mel_cepstral_distance)

    def compare(pair) -> tuple[dict[str, float], dict | None]:
        original, samples = pair
        distances = dict.fromkeys(("mcd", "pitch", "duration"), math.nan)
        if samples is None or len(samples) < MIN_SECONDS * rate:
            return distances, None
        likeness = audio_metrics.align(*(audio_metrics.contours(x, rate) for x in pair))
        distances |= {"pitch": likeness.pitch_rmse, "duration": len(samples) / len(original)}
        if measured:
            distances["mcd"] = audio_metrics.mel_cepstral_distance(original, samples, rate)
        return distances, dataclasses.asdict(likeness.quality)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(compare, zip(originals, row, strict=True)))
    metrics_of = [distances for distances, _ in rows]
    return {name: np.array([each[name] for each in metrics_of]) for name in metrics_of[0]}, [
        quality for _, quality in rows
    ]


def _word_errors(bundle, sentences, waves, values, known_texts):
    """Add the word error rates to the values; words [B] by system, and the tools that were used."""
    language, rate = bundle.table.language, bundle.frontend.sample_rate
    texts = {name: [s.text for s in sentences] for name in waves}
    if "converted" in texts:
        texts["converted"] = [s.source_text for s in sentences]
    true = {name: [transcription.words(t, language) for t in row] for name, row in texts.items()}
    counts = {name: np.array([max(1, len(t)) for t in row]) for name, row in true.items()}
    counts["converted"] = counts.get("converted", np.ones(len(sentences)))
    if not transcription.installed() or not language.startswith("en"):
        return counts, {}
    likely = [transcription.words(text, language) for text in known_texts]
    for name, row in waves.items():
        there = [i for i, samples in enumerate(row) if samples is not None]
        transcribed = transcription.recognise([row[i] for i in there], rate, likely)
        rates = [
            transcription.edit_distance(true[name][i], words.split()) / counts[name][i]
            for i, words in zip(there, transcribed, strict=True)
        ]
        values[name]["word_error"] = _spread(rates, there, len(row))
    expecting = "expecting the words of the corpora" if likely else "expecting any English"
    return counts, {"word_error": f"{transcription.name()}, {expecting}"}


def _spread(numbers, places: Sequence[int], count: int) -> np.ndarray:
    """Numbers at their places among `count`; NaN elsewhere."""
    row = np.full(count, np.nan)
    row[list(places)] = numbers
    return row


def summary(results: Mapping) -> str:
    """The metrics of every kind of voice, a line for each system."""
    lines = []
    for kind, each in results["voices"].items():
        for system, row in each["systems"].items():
            shown = ", ".join(f"{METRICS[name]} {each['value']:.3g}" for name, each in row.items())
            lines.append(f"{kind} voices, {system}: {shown}")
    return "\n".join(lines)


def card_metrics(results: Mapping) -> dict:
    """The metrics that a card quotes; see `lin_jax.bundles.card`."""
    rows = {}
    for kind, voices in results["voices"].items():
        systems = voices["systems"]
        for system in (name for name in ("generated", "converted") if name in systems):
            row = rows[f"{kind} voices, {SYSTEMS[system]}"] = {}
            for name in (name for name in METRICS if name in systems[system]):
                beside = systems.get("vocoded" if name == "mcd" else "original", {}).get(name)
                reference = {"reference": beside["value"]} if beside else {}
                row[METRICS[name]] = systems[system][name] | reference
    return rows


def report(
    results: Mapping,
    sentences: Sequence[Sentence],
    speech: Mapping[str, Sequence[Speech | None]],
    examples: int,
    folder: pathlib.Path,
):
    """Write report.html: all metrics, bars, and examples to look at and listen to.

    Args:
        results: of `evaluate`, with their "protocol".
        sentences: what was said.
        speech: of `evaluate`.
        examples: of each kind of voice.
        folder: where to; the examples lie there as files too.
    """
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    kinds = results["voices"]
    pictures, rows, cards = [], [], []
    for name, title in METRICS.items():
        bars = {
            kind: {
                system: row[name]["value"]
                for system, row in kinds[kind]["systems"].items()
                if name in row
            }
            for kind in kinds
        }
        if any(bars.values()):
            figure = plots.plot_groups(bars, folder / f"{name}.png", title=title)
            pictures.append(html.picture(figure, title))
    for kind in kinds:
        for system, row in kinds[kind]["systems"].items():
            cells = [cell(row.get(name)) for name in METRICS]
            rows.append([kind, f"{system}, {SYSTEMS[system]}", *cells])
        chosen = [i for i, s in enumerate(sentences) if s.kind == kind][:examples]
        for number, i in enumerate(chosen):
            for system, row in speech.items():
                if (made := row[i]) is None:
                    continue
                path = folder / f"examples/{kind}-{number}-{system}.flac"
                made.write(path)
                samples, rate = made.samples, made.sample_rate
                figure = plots.plot_spectrogram(samples, rate, path.with_suffix(".png"))
                text = sentences[i].source_text if system == "converted" else sentences[i].text
                parts = [html.picture(figure, text), html.player(samples, rate)]
                cards.append((f"{sentences[i].speaker}, {kind}: {system}", parts))
    header = ["voices", "system", *METRICS.values()]
    sections = [
        html.Section("All metrics", results["protocol"], [html.table(header, rows)]),
        html.Section("Compared", "", pictures),
        html.Section("Examples", "", [html.cards(cards)]),
    ]
    html.write_html(folder / "report.html", "Synthesis", sections, lead=summary(results))


def cell(each: Mapping | None) -> str:
    """A metric with its interval, as a table has it."""
    if each is None:
        return "–"
    interval = f" ({each['low']:.3g} – {each['high']:.3g})" if "low" in each else ""
    return f"{each['value']:.3g}{interval}"
