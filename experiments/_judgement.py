"""How a trained synthesizer is judged: it says sentences that nobody learnt from, beside those who said them.

Shape letters: B clips, T frames, M mel bins, N samples, S decoder steps, L symbols, E embedding, P
speakers.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import pathlib
import re
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from experiments._profiles import Profiles
from experiments._synthesis import GRAIN, KNOWN_CLIPS, TABLE, Experiment
from lin_jax import bundles, metrics
from lin_jax.audio import files, griffin_lim
from lin_jax.errors import ConfigError
from lin_jax.metrics import audio as audio_metrics
from lin_jax.metrics import transcription
from lin_jax.reporting import html, plots
from lin_jax.tasks.synthesis import Synthesis
from lin_jax.training import writers

SYSTEMS = {
    "generated": "from the text",
    "revoiced": "from a recording of somebody else who says the same, where there is one",
    "copied": "by the vocoder alone, from the true mel frames",
    "griffin_lim": "by Griffin-Lim alone, from the same, where another vocoder is used",
    "original": "by the speaker",
}
FIGURES = {
    "mcd": "mel-cepstral distance, dB",
    "pitch": "log-F0 RMSE",
    "voicing": "voicing error",
    "quality": "quality score Q",
    "duration": "duration ratio",
    "similarity": "similarity to the speaker",
    "speaker_top1": "speaker_top1 to its own speaker",
    "speaker_top1_in_group": "the same among its kind",
    "strangers": "similarity to the others",
    "word_error": "word error rate",
    "stop_failures": "stop failures",
}
HEALTH = {
    "diagonal": "read from end to end",
    "diagonal_rate": "diagonal_rate",
    "focus_rate": "focus",
    "stop_failures": "stop failures",
}
COUNTS = ("skipped", "repeated", "words_skipped", "words_repeated")
EXPECTED = {
    "texts": "expecting words as in the texts of the corpora",
    "english": "expecting any English",
}
MIN_SECONDS = 0.1  # of less no figure is taken


def judge(experiment: Experiment, trained: pathlib.Path, workdir: pathlib.Path) -> dict:
    """Judge a training on the sentences held out, in voices that it learnt and in those held out too.

    It stands between its vocoder, given the true mel frames, and the speakers, corpus by corpus;
    see `SYSTEMS`. Writes results.json, clips.jsonl with the figures of each clip, examples to
    listen to, plots, and a page with all of them.

    Args:
        experiment: what was trained on, and what was not.
        trained: workdir of the training.
        workdir: where to.
    """
    config, rate = experiment.config.judge, experiment.clips.frontend.sample_rate
    if not importlib.util.find_spec("librosa"):
        raise ConfigError(
            "librosa is not installed, and the pitch is found by it: pip install 'lin_jax[eval]'"
        )
    if config.expected not in EXPECTED:
        raise ConfigError(f"unknown expected {config.expected!r}: choose {' or '.join(EXPECTED)}")
    if 1 not in config.lengths:
        raise ConfigError(
            f"lengths {config.lengths}: the sentences themselves belong to them; add 1"
        )
    sides = _sides(experiment)
    if not sides:
        raise ConfigError("no sentences to judge on: raise hold_out_texts")
    if why := _deaf(experiment.config.language):
        print(f"note: no word error rate: {why}")
    task, variables, step = experiment.fit(trained)
    index = np.concatenate(list(sides.values()))
    speakers, texts = experiment.speakers[index], experiment.texts[index]
    partners = _partners(experiment, index) if "speech" in task.sources else np.full(len(index), -1)
    say = functools.partial(_say, task, variables, B=config.batch_size)
    vocoder = bundles.load_vocoder(experiment.config.vocoder, task.frontend)
    vocode = functools.partial(_waveforms, task, vocoder, B=config.batch_size)

    _tell("speaking")
    references = _references(experiment, index)
    voices = experiment.heard(trained, task, variables, references)
    said, spent = say([experiment.symbols[i] for i in index], voices)
    spoken, frames = {"generated": said}, [experiment.clips[int(i)]["features"] for i in index]
    if (partners >= 0).any():
        sources = [
            experiment.clips[int(i)]["features"] for i in np.where(partners >= 0, partners, index)
        ]
        spoken["revoiced"], _ = say(sources, voices)
    waves = {system: vocode([one.features for one in its]) for system, its in spoken.items()}
    waves["copied"] = vocode(frames)
    if vocoder:
        waves["griffin_lim"] = _waveforms(task, None, frames, B=config.batch_size)
    spent += waves["generated"][1]
    waves = {system: samples for system, (samples, _) in waves.items()}
    waves["original"] = [
        files.load(experiment.clips.rows[i]["path"], experiment.clips.frontend) for i in index
    ]
    seconds = sum(map(len, waves["generated"])) / rate

    _tell("comparing")
    figures = _likeness(waves, rate)
    profiles = Profiles(experiment)
    # Neither the clip itself, nor those in which its voice was heard, tell what its speaker sounds
    # like.
    hidden = list(map(np.append, references, index))
    paths = [experiment.clips.rows[i]["path"] for i in index]
    similarities = profiles.compare(waves | {"original": paths}, speakers, hidden)
    heard, words, errors = _recognised(experiment, texts, waves)
    for system, own in figures.items():
        own |= similarities[system] | ({"word_error": errors[system] / words} if heard else {})
        if system in spoken:
            own["stop_failures"] = np.array([float(not one.stopped) for one in spoken[system]])
    for values in figures.get("revoiced", {}).values():
        values[partners < 0] = np.nan

    _tell("speaking at length")
    health, longest = {name: {} for name in sides}, {}
    for length in config.lengths:
        joined = {
            name: own[: len(own) // length * length].reshape(-1, length)
            for name, own in sides.items()
        }
        rows = [
            row for part in joined.values() for row in part
        ]  # each some clips, whose texts become one
        read = iter(said)
        if length > 1 and rows:
            symbols = [experiment.table.encode(" ".join(experiment.texts[row])) for row in rows]
            first = [int(np.flatnonzero(index == row[0])[0]) for row in rows]
            read = iter(
                say(symbols, {key: values[first] for key, values in voices.items()}, times=length)[
                    0
                ]
            )
        for name, part in joined.items():
            if len(part):
                own = list(itertools.islice(read, len(part)))
                health[name][str(length)] = _health(
                    experiment, own, experiment.speakers[part[:, 0]]
                )
                longest[name] = own[0]

    _tell("copying voices")
    copied = _copied(experiment, profiles, trained, task, variables, say, vocode)

    results = {
        "protocol": _protocol(experiment, texts),
        "sides": list(sides),
        "step": step,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
        "train_clips": len(experiment.train),
        "train_speakers": len(np.unique(experiment.clips.people[experiment.train])),
        "real_time_factor": spent / max(seconds, 1e-9),
        "batch_size": config.batch_size,
        "encoder": config.encoder,
        "vocoder": experiment.config.vocoder or "Griffin-Lim",
        "tools": _tools(f"{transcription.name()}, {EXPECTED[config.expected]}" if heard else ""),
    }
    start = 0
    for name, clips in sides.items():
        own, start = slice(start, start + len(clips)), start + len(clips)
        results[name] = {
            "clips": len(clips),
            "speakers": len(np.unique(speakers[own])),
            "sentences": len(np.unique(texts[own])),
            "attention": health[name],
        }
        for system, values in figures.items():
            mine = {figure: each[own] for figure, each in values.items()}
            results[name][system] = _summary(mine, speakers[own], words[own])
        print(f"{name} voices: {_told(results[name])}")
    results["copied"] = copied
    for corpus, found in copied.items():
        print(f"{corpus}, voices copied: {_told(found)}")
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "results.json").write_text(json.dumps(_plain(results), indent=2) + "\n")
    with (workdir / "clips.jsonl").open("w", encoding="utf-8") as file:
        for b, i in enumerate(index):
            row = {"id": experiment.clips.rows[i]["id"], "text": str(texts[b])} | said[b].health
            for system, values in figures.items():
                row[system] = {name: float(each[b]) for name, each in values.items()}
                row[system] |= {"heard": heard[system][b]} if heard else {}
            file.write(json.dumps(_plain(row), ensure_ascii=False) + "\n")
    _show(experiment, results, sides, said, waves, longest, workdir)
    return results


@dataclasses.dataclass(frozen=True)
class _Said:
    """One text, or recording, as it was spoken.

    Attributes:
        source: symbols of the text [L], or frames of the recording.
        features: mel frames in dB [T, M].
        attention: weights [S, L].
        stopped: whether it ended by itself.
        health: of a text, see `metrics.alignment_metrics` and `metrics.words_attended`.
    """

    source: np.ndarray
    features: np.ndarray
    attention: np.ndarray
    stopped: bool
    health: dict[str, float]


def _sides(experiment: Experiment) -> dict[str, np.ndarray]:
    """The clips to judge on by kind of voice, "seen" in training or "unseen", in each corpus if there are several."""
    corpora, sides = experiment.clips.corpora, {}
    names = np.unique(corpora)
    for corpus, (kind, clips) in itertools.product(
        names, (("seen", experiment.test_seen), ("unseen", experiment.test_unseen))
    ):
        own = clips[corpora[clips] == corpus]
        if len(own):
            name = f"{corpus}-{kind}" if len(names) > 1 else kind
            sides[name] = _choose(experiment, own, experiment.config.judge.clips)
    return sides


def _choose(experiment: Experiment, indices, most: int) -> np.ndarray:
    """Clips [at most `most`] of which the speakers take turns, each with a text that was said the least so far."""
    rng, used = np.random.default_rng(experiment.config.seed), collections.Counter()
    names = rng.permutation(np.unique(experiment.speakers[indices]))
    own = [list(rng.permutation(indices[experiment.speakers[indices] == name])) for name in names]
    chosen = []
    while any(own):
        for clips in filter(None, own):
            clip = min(clips, key=lambda clip: used[experiment.texts[clip]])
            clips.remove(clip)
            used[experiment.texts[clip]] += 1
            chosen.append(clip)
    return np.array(chosen[:most])


def _references(experiment: Experiment, index) -> list[np.ndarray]:
    """For each clip (B) those in which its voice is heard: as it was learnt, or another one if it was not."""
    another = experiment.references()
    known = (experiment.known(experiment.speakers[i]) for i in index)
    return [own if len(own) else another[[i]] for own, i in zip(known, index, strict=True)]


def _partners(experiment: Experiment, index) -> np.ndarray:
    """For each clip [B] one in which another speaker of the corpora says the same, or -1."""
    rng, partners = np.random.default_rng(experiment.config.seed), np.full(len(index), -1)
    usable = experiment.natural
    for b, i in enumerate(index):
        same = experiment.words[usable] == experiment.words[i]
        found = usable[same & (experiment.speakers[usable] != experiment.speakers[i])]
        if len(found):
            partners[b] = rng.choice(found)
    return partners


def _say(
    task: Synthesis,
    variables,
    sources: Sequence,
    voices: Mapping[str, np.ndarray],
    *,
    B: int,
    times: int = 1,
) -> tuple[list[_Said], float]:
    """Symbols [L] or frames [T, M] as they are spoken, and the seconds it takes.

    Args:
        task: what was trained.
        variables: the same.
        sources: of one kind.
        voices: of each, as `Experiment.heard` has them.
        B: how many are spoken at once.
        times: how many times as long as the task allows it may take.
    """
    config = dataclasses.replace(task.config, max_seconds=times * task.config.max_seconds)
    task = dataclasses.replace(task, config=config)
    name, number = (
        ("symbols", "num_symbols") if sources[0].ndim == 1 else ("source", "num_source_frames")
    )
    L = -(-max(map(len, sources)) // GRAIN) * GRAIN

    @jax.jit
    def speak(variables, batch):
        said = task.predict(variables, batch)
        num_steps = -(-said["num_frames"] // task.model.reduction)
        said |= {"num_steps": num_steps, "health": {}}
        if name == "symbols":
            said["health"] = metrics.alignment_metrics(said["attention"], num_steps, batch[number])
        return said

    spoken, seconds = [None] * len(sources), 0.0
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    for start in range(0, len(order), B):
        rows = np.resize(order[start : start + B], B)  # the last batch is filled up by itself
        padded, lengths = _padded([sources[i] for i in rows], L)
        batch = {name: padded, number: lengths} | {
            key: values[rows] for key, values in voices.items()
        }
        if not start:
            speak = speak.lower(variables, batch).compile()
        began = time.perf_counter()
        said = jax.device_get(speak(variables, batch))
        seconds += time.perf_counter() - began
        for b, i in enumerate(rows):
            T, S = said["num_frames"][b], said["num_steps"][b]
            spoken[i] = _Said(
                sources[i],
                said["features"][b, :T].copy(),
                said["attention"][b, :S, : len(sources[i])].copy(),
                bool(said["stopped"][b]),
                {name: float(values[b]) for name, values in said["health"].items()},
            )
    return spoken, seconds


def _padded(rows: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of any length as a batch [B, size, ...] of zeros at their ends, and their lengths [B]."""
    batch = np.zeros((len(rows), size, *rows[0].shape[1:]), rows[0].dtype)
    for place, row in zip(batch, rows, strict=True):
        place[: len(row)] = row
    return batch, np.array([len(row) for row in rows], np.int32)


def _waveforms(
    task: Synthesis, vocoder: bundles.Vocoder | None, frames: Sequence[np.ndarray], *, B: int
) -> tuple[list[np.ndarray], float]:
    """Waveforms of mel frames [T, M], by Griffin-Lim if there is no vocoder, and the seconds it takes."""
    longest = max(task.max_frames + task.model.reduction, *map(len, frames))
    sizes = [-(-longest // 4), -(-longest // 2), longest]
    vocode = functools.partial(griffin_lim.mel_to_waveform, task.frontend)
    vocode = jax.jit(functools.partial(vocoder.vocode, vocoder.constants) if vocoder else vocode)
    waves, seconds, compiled = [None] * len(frames), 0.0, {}
    order = sorted(range(len(frames)), key=lambda i: len(frames[i]))
    for start in range(0, len(order), B):
        rows = np.resize(order[start : start + B], B)
        size = next(size for size in sizes if size >= max(len(frames[i]) for i in rows))
        padded, num_frames = _padded([frames[i] for i in rows], size)
        if size not in compiled:
            compiled[size] = vocode.lower(padded, num_frames).compile()
        began = time.perf_counter()
        samples, length = jax.device_get(compiled[size](padded, num_frames))
        seconds += time.perf_counter() - began
        for b, i in enumerate(rows):
            waves[i] = samples[b, : length[b]].copy()
    return waves, seconds


def _likeness(
    waves: Mapping[str, Sequence[np.ndarray]], rate: int
) -> dict[str, dict[str, np.ndarray]]:
    """How near each system comes to the original, the last; of each figure [B], NaN for a clip that is hardly there."""
    measured = audio_metrics.installed(audio_metrics.mel_cepstral_distance)

    def compare(one) -> list[dict]:
        *spoken, original = one
        found, true = [], audio_metrics.contours(original, rate)
        for samples in spoken:
            row = dict.fromkeys(("mcd", "pitch", "voicing", "quality"), math.nan)
            row["duration"] = len(samples) / len(original)
            if len(samples) >= MIN_SECONDS * rate:
                near = audio_metrics.align(true, audio_metrics.contours(samples, rate))
                row |= {
                    "pitch": near.pitch_rmse,
                    "voicing": near.voicing_error,
                    "quality": near.quality.score,
                }
                if measured:
                    row["mcd"] = audio_metrics.mel_cepstral_distance(original, samples, rate)
            found.append(row)
        return found

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(compare, zip(*waves.values(), strict=True)))
    figures = {
        system: {name: np.array([row[number][name] for row in rows]) for name in rows[0][0]}
        for number, system in enumerate(list(waves)[:-1])
    }
    return figures | {"original": {}}


def _copied(
    experiment: Experiment, profiles: Profiles, trained, task, variables, say, vocode
) -> dict[str, dict]:
    """The figures, by corpus, of held-out speakers who each say many sentences, heard in clips of theirs in turns.

    They are compared with the first of these clips, as "original"; what they say is any sentence of
    the corpora that nobody learnt. How long they are heard stands after the name of the corpus.
    """
    judged = [
        (seconds, *experiment.copies(seconds)) for seconds in experiment.config.judge.heard_seconds
    ]
    references = [own for _, heard, _ in judged for own in heard]
    if not references:
        return {}
    texts = np.concatenate([said for _, _, said in judged])
    first = np.array([own[0] for own in references])
    speakers, corpora = experiment.speakers[first], experiment.clips.corpora[first]
    kinds = np.repeat(
        [f"{seconds:g} s" if seconds else "a clip" for seconds, *_ in judged],
        [len(one[2]) for one in judged],
    )
    voices = experiment.heard(trained, task, variables, references)
    said, _ = say([experiment.table.encode(text) for text in texts], voices)
    systems = {
        "generated": vocode([one.features for one in said])[0],
        "original": [experiment.clips.rows[i]["path"] for i in first],
    }
    figures = profiles.compare(systems, speakers, references)
    figures["generated"]["stop_failures"] = np.array([float(not one.stopped) for one in said])
    _, words, errors = _recognised(experiment, texts, {"generated": systems["generated"]})
    if errors:
        figures["generated"]["word_error"] = errors["generated"] / words
    seconds = np.array(
        [sum(experiment.clips.rows[i]["seconds"] for i in own) for own in references]
    )
    found = {}
    for corpus, kind in itertools.product(np.unique(corpora), dict.fromkeys(kinds)):
        own = (corpora == corpus) & (kinds == kind)
        found[f"{corpus}, {kind}"] = {
            "clips": int(own.sum()),
            "speakers": len(np.unique(speakers[own])),
            "sentences": len(np.unique(texts[own])),
            "heard_seconds": float(seconds[own].mean()),
            "attention": {
                "1": _health(experiment, list(itertools.compress(said, own)), speakers[own])
            },
        } | {
            system: _summary(
                {figure: each[own] for figure, each in values.items()}, speakers[own], words[own]
            )
            for system, values in figures.items()
        }
    return found


def _recognised(experiment: Experiment, texts, waves):
    """What is heard of each system's clips, the words of each text [B], and each system's word errors [B]."""
    language, rate = experiment.config.language, experiment.clips.frontend.sample_rate
    true = [transcription.words(text, language) for text in texts]
    words = np.array([max(len(one), 1) for one in true])
    if _deaf(language):
        return {}, words, {}
    joined = [samples for its in waves.values() for samples in its]
    known = np.unique(experiment.texts) if experiment.config.judge.expected == "texts" else ()
    heard = iter(
        transcription.recognise(
            joined, rate, [transcription.words(text, language) for text in known]
        )
    )
    heard = {system: [next(heard) for _ in texts] for system in waves}
    errors = {
        system: np.array(
            [
                transcription.edit_distance(t, h.split())
                for t, h in zip(true, heard[system], strict=True)
            ]
        )
        for system in waves
    }
    return heard, words, errors


def _deaf(language: str) -> str:
    """Why no words are recognised in a language; nothing if they are."""
    if language.partition("-")[0] != "en":
        return "it knows English only"
    return (
        ""
        if transcription.installed()
        else "pocketsphinx is not installed: pip install 'lin_jax[eval]'"
    )


def _health(experiment: Experiment, spoken: Sequence[_Said], speakers) -> dict:
    """The health of attention over some texts: means with intervals over the voices, and how much was lost in all."""
    total = collections.Counter(texts=len(spoken))
    rows = []
    for one in spoken:
        words = [
            (w.start(), w.end() - 1)
            for w in re.finditer(r"\w(?:\S*\w)?", experiment.table.decode(one.source))
        ]
        one.health["words_skipped"], one.health["words_repeated"] = metrics.words_attended(
            one.attention, words
        )
        total.update(
            words=len(words),
            symbols=len(one.source),
            **{name: int(one.health[name]) for name in COUNTS},
        )
        straight = not one.health["skipped"] and not one.health["repeated"]
        rows.append({"diagonal": straight, "stop_failures": not one.stopped} | one.health)
    figures = {name: np.array([row[name] for row in rows], float) for name in HEALTH}
    return dict(total) | _summary(figures, speakers)


def _summary(figures: Mapping[str, np.ndarray], speakers, words=None) -> dict:
    """Means of figures [B], their intervals over the speakers, and of how many clips there is none."""
    found = {"intervals": {}, "missing": {}}
    for name, values in figures.items():
        known = ~np.isnan(values)
        if not known.all():
            found["missing"][name] = int((~known).sum())
        if known.any():
            weight = (
                words if name == "word_error" else np.ones(len(values))
            )  # errors in all, by words in all
            found[name] = float(np.average(values[known], weights=weight[known]))
            found["intervals"][name] = metrics.bootstrap_mean(values, speakers, weight)
    return found


def _protocol(experiment: Experiment, texts) -> str:
    """What was held out, and where the voices come from."""
    number = len(np.unique(texts))
    voice = "a table of the voices in training"
    if experiment.heard_by != TABLE:
        voice = (
            f"heard by {experiment.heard_by}, those learnt in {KNOWN_CLIPS} clips that were learnt from, the others in "
            "another clip of the speaker"
        )
    return f"{number} sentences that nobody learnt from, voices: {voice}"


def _tools(recogniser: str) -> dict[str, str]:
    """The packages whose figures only compare with their own."""
    tools = {"pitch": "librosa", "mcd": "mel-cepstral-distance"}
    found = {}
    for name, package in tools.items():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = f"{package} {importlib.metadata.version(package)}"
    return found | ({"word_error": recogniser} if recogniser else {})


def _show(experiment, results, sides, said, waves, longest, workdir):
    """Pictures, examples as recordings, and a page with all of them; the same for TensorBoard."""
    rate, config = experiment.clips.frontend.sample_rate, experiment.config.judge
    found = {name: results[name] for name in sides}
    (workdir / "examples").mkdir(exist_ok=True)
    drawn_figures = {}
    for name, title in FIGURES.items():
        bars = {
            one: {system: own[system][name] for system in waves if name in own[system]}
            for one, own in found.items()
        }
        if any(bars.values()):
            drawn_figures[name] = plots.plot_groups(bars, workdir / f"{name}.png", title=title)
    by_length = {}
    for (one, own), length in itertools.product(found.items(), config.lengths):
        if health := own["attention"].get(str(length)):
            by_length.setdefault(f"{length}×", {})[one] = health["diagonal"]
    title = "texts read from end to end, by their length"
    drawn_figures["attention"] = plots.plot_groups(
        by_length, workdir / "attention.png", title=title
    )

    cards, sounds, pictures, first = [], {}, {}, 0
    for side, clips in sides.items():
        for number, (b, i) in enumerate(
            zip(range(first, first + config.examples), clips, strict=False)
        ):
            for system, its in waves.items():
                if not len(its[b]):
                    continue
                samples, name = np.clip(its[b], -1, 1), f"{side}-{number}-{system}"
                path = workdir / f"examples/{name}.flac"
                if system == "original":
                    files.write(path, samples, rate)
                else:
                    bundles.Speech.marked(
                        samples, rate, (), f"{system} by experiments.synthesis"
                    ).write(path)
                parts, sounds[name] = [html.player(samples, rate)], samples
                if system == "generated":
                    figure = _alignment(experiment, said[b], path.with_suffix(".png"))
                    pictures[name] = plots.pixels(figure)
                    parts.insert(0, html.picture(figure, str(experiment.texts[i])))
                cards.append((f"{experiment.speakers[i]}, {side}: {system}", parts))
        first += len(clips)
    drawn = [
        html.picture(_alignment(experiment, one, workdir / f"long-{name}.png"), f"{name} voice")
        for name, one in longest.items()
    ]
    with contextlib.closing(writers.create(workdir, results["step"])) as writer:
        writer.write_images(
            results["step"],
            pictures | {name: plots.pixels(plot) for name, plot in drawn_figures.items()},
        )
        writer.write_audios(results["step"], sounds, sample_rate=rate)

    def table(found, systems):
        rows = [
            [one, title, *(_number(own[system], name) for system in systems)]
            for one, own in found.items()
            for name, title in FIGURES.items()
            if any(name in own[system] for system in systems)
        ]
        return html.table(["voices", "figure", *systems], rows)

    health = [
        [
            one,
            f"{length}×",
            its["texts"],
            *(_number(its, name) for name in HEALTH),
            *(its[name] for name in COUNTS),
        ]
        for one, own in found.items()
        for length, its in own["attention"].items()
    ]
    lost = [
        "voices",
        "length",
        "texts",
        *HEALTH.values(),
        "symbols skipped",
        "repeated",
        "words skipped",
        "repeated",
    ]
    reading = (
        "Read from end to end: attention passes over no more than three symbols at once, never goes back by more, and "
        "reaches the end. A word is skipped if attention is never on it or beside it, and repeated if it goes back."
    )
    used = [
        *((system, SYSTEMS[system]) for system in waves),
        *results["tools"].items(),
        ("voices", results["encoder"]),
    ]
    used.append(("vocoder", results["vocoder"]))
    used.append(
        (
            "speed",
            f"{results['real_time_factor']:.2f} of its length, {results['batch_size']} texts at once",
        )
    )
    copying = (
        f"Each speaker held out says {config.copies} sentences that nobody learnt, heard in one own clip after "
        "another, or in as many as last so long. Kin are the voices that are clear, or those that are not, as it is."
    )
    intervals = "Means, with 95 % intervals over the speakers; voices seen or unseen in training."
    compared = [
        html.picture(drawn_figures[name], title)
        for name, title in FIGURES.items()
        if name in drawn_figures
    ]
    sections = [
        html.Section("All figures", intervals, [table(found, waves)]),
        html.Section(
            "Voices copied", copying, [table(results["copied"], ("generated", "original"))]
        ),
        html.Section(
            "Attention",
            reading,
            [html.table(lost, health), html.picture(drawn_figures["attention"]), *drawn],
        ),
        html.Section("Examples", "", [html.cards(cards)]),
        html.Section("Compared", "", compared),
        html.Section("How it was judged", results["protocol"], [html.table(["what", "how"], used)]),
    ]
    lead = "; ".join(f"{one}: {_told(own)}" for one, own in found.items())
    html.write_html(workdir / "report.html", "Synthesis", sections, lead=lead)


def _alignment(experiment: Experiment, one: _Said, path):
    symbols = experiment.table.decode(one.source)
    hop = experiment.clips.frontend.hop_length / experiment.clips.frontend.sample_rate
    return plots.plot_alignment(one.attention, symbols, one.features, len(one.features) * hop, path)


def _told(found: Mapping) -> str:
    """The figures that matter of one side, in one line."""
    generated, original, attention = (
        found["generated"],
        found["original"],
        found["attention"].get("1", {}),
    )
    parts = [f"{found['clips']} clips of {found['speakers']} speakers"]
    if "mcd" in generated:
        parts.append(f"MCD {generated['mcd']:.2f} dB (copied {found['copied']['mcd']:.2f})")
    for name, title in (
        ("word_error", "word errors"),
        ("speaker_top1", "speaker_top1 to its speaker"),
        ("speaker_top1_in_group", "of its kind"),
    ):
        if name in generated:
            beside = f" (original {original[name]:.0%})" if name in original else ""
            parts.append(f"{title} {generated[name]:.0%}{beside}")
    if attention:
        parts.append(
            f"diagonal {attention['diagonal']:.0%}, stop failures {attention['stop_failures']:.0%}"
        )
        parts.append(
            f"{attention['words_skipped']} words skipped, {attention['words_repeated']} repeated"
        )
    return ", ".join(parts)


def _number(found: Mapping, name: str) -> str:
    """A mean and its interval."""
    if name not in found:
        return "–"
    low, high = found["intervals"][name]
    return f"{found[name]:.3g}" + ("" if math.isnan(low) else f" ({low:.3g} – {high:.3g})")


def _plain(value):
    """The same without NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _tell(doing: str) -> None:
    print(f"{doing} …", flush=True)
