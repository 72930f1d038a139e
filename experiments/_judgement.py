"""How a trained synthesizer is judged: it says sentences that nobody learnt from, beside those who said them.

Shape letters: B clips, T frames, M mel bins, N samples, S decoder steps, L symbols, E embedding, P speakers.
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

from experiments._synthesis import TABLE, Experiment
from lin_jax import audio_metrics, bundles, metrics, recognition
from lin_jax.apps import report
from lin_jax.audio import files, griffin_lim
from lin_jax.errors import AudioError, ConfigError
from lin_jax.tasks.synthesis import Synthesis
from lin_jax.training import writers

SYSTEMS = ("generated", "copied", "original")  # "copied": the true mel frames through the same vocoder
FIGURES = {
    "mcd": "mel-cepstral distance, dB",
    "pitch": "log-F0 RMSE",
    "voicing": "voicing error",
    "quality": "quality score Q",
    "duration": "duration ratio",
    "similarity": "similarity to the speaker",
    "closest": "closest to its own speaker",
    "strangers": "similarity to the others",
    "word_error": "word error rate",
}
HEALTH = {
    "diagonal": "read from end to end",
    "diagonality": "diagonality",
    "focus": "focus",
    "stop_failures": "stop failures",
}
COUNTS = ("skipped", "repeated", "words_skipped", "words_repeated")
EXPECTED = {"texts": "expecting words as in the texts of the corpora", "english": "expecting any English"}
SHORTEST_SECONDS = 0.1  # of less no figure is taken
GRAIN = 16  # symbols: texts are padded to its multiples


def judge(experiment: Experiment, trained: pathlib.Path, workdir: pathlib.Path) -> dict:
    """Judge a training on the sentences held out, in voices that it learnt and in those held out too, each corpus for
    itself.

    Three say each sentence: the training, its vocoder given the true mel frames, and the speaker. Writes results.json,
    clips.jsonl with the figures of each clip, examples to listen to, plots, and a page with all of them.

    Args:
      experiment: what was trained on, and what was not.
      trained: workdir of the training.
      workdir: where to.
    """
    config, rate = experiment.config.judge, experiment.clips.frontend.sample_rate
    if not importlib.util.find_spec("librosa"):
        raise ConfigError("librosa is not installed, and the pitch is found by it: pip install 'lin_jax[eval]'")
    if config.expected not in EXPECTED:
        raise ConfigError(f"unknown expected {config.expected!r}: choose {' or '.join(EXPECTED)}")
    if 1 not in config.lengths:
        raise ConfigError(f"lengths {config.lengths}: the sentences themselves belong to them; add 1")
    corpora = np.array(experiment.clips.corpora)
    several = len(np.unique(corpora)) > 1
    sides = {
        f"{corpus}-{kind}" if several else kind: indices[corpora[indices] == corpus]
        for corpus in np.unique(corpora)
        for kind, indices in (("seen", experiment.test_seen), ("unseen", experiment.test_unseen))
    }
    sides = {name: _choose(experiment, indices, config.clips) for name, indices in sides.items() if len(indices)}
    if not sides:
        raise ConfigError("no sentences to judge on: raise hold_out_texts")
    task, fitted = experiment.fit(trained)
    voices = experiment.voices(trained)
    index = np.concatenate(list(sides.values()))
    side = np.repeat(list(sides), [len(own) for own in sides.values()])
    speakers, texts = experiment.speakers[index], experiment.texts[index]

    _tell("speaking")
    said, spent = _say(task, fitted.variables, [experiment.symbols[i] for i in index], voices[index], config.batch_size)
    waves = {}
    waves["generated"], vocoding = _waveforms(task, [one.features for one in said], config.batch_size)
    waves["copied"], _ = _waveforms(task, [experiment.clips[int(i)]["features"] for i in index], config.batch_size)
    waves["original"] = [files.load(experiment.clips.rows[i]["path"], experiment.clips.frontend) for i in index]
    seconds = sum(map(len, waves["generated"])) / rate

    _tell("comparing")
    figures = _likeness(waves, rate)
    similarities = _similarities(experiment, index, waves)
    heard, words, errors = _recognised(experiment, texts, waves)
    for system in SYSTEMS:
        figures[system] |= similarities[system]
        if heard:
            figures[system]["word_error"] = errors[system] / words

    _tell("speaking at length")
    health, longest = {name: {} for name in sides}, {}
    for length in config.lengths:
        joined = {name: own[: len(own) // length * length].reshape(-1, length) for name, own in sides.items()}
        rows = [row for part in joined.values() for row in part]  # each some clips, whose texts become one
        spoken = iter(said)
        if length > 1 and rows:
            symbols = [experiment.table.encode(" ".join(experiment.texts[row])) for row in rows]
            first = voices[[row[0] for row in rows]]
            spoken = iter(_say(task, fitted.variables, symbols, first, config.batch_size, length)[0])
        for name, part in joined.items():
            if len(part):
                own = list(itertools.islice(spoken, len(part)))
                health[name][str(length)] = _health(experiment, own, experiment.speakers[part[:, 0]])
                longest[name] = own[0]

    results = {
        "protocol": _protocol(experiment, sides),
        "sides": list(sides),
        "step": fitted.best_step or int(fitted.state.step),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(fitted.variables["params"])),
        "train_clips": len(experiment.train),
        "train_speakers": len(np.unique(experiment.speakers[experiment.train])),
        "real_time_factor": (spent + vocoding) / max(seconds, 1e-9),
        "batch_size": config.batch_size,
        "encoder": config.encoder,
        "tools": _tools(f"{recognition.name()}, {EXPECTED[config.expected]}" if heard else ""),
    }
    for name in sides:
        own = side == name
        results[name] = {
            "clips": int(own.sum()),
            "speakers": len(np.unique(speakers[own])),
            "sentences": len(np.unique(texts[own])),
            **{
                system: _summary(
                    {key: values[own] for key, values in figures[system].items()}, speakers[own], words[own]
                )
                for system in SYSTEMS
            },
            "attention": health[name],
        }
        print(f"{name} voices: {_told(results[name])}")
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "results.json").write_text(json.dumps(_plain(results), indent=2) + "\n")
    with (workdir / "clips.jsonl").open("w", encoding="utf-8") as file:
        for b, i in enumerate(index):
            row = {"id": experiment.clips.rows[i]["id"], "side": str(side[b]), "text": str(texts[b])}
            row |= said[b].health | {"stopped": said[b].stopped}
            for system in SYSTEMS:
                row[system] = {name: float(values[b]) for name, values in figures[system].items()}
                row[system] |= {"heard": heard[system][b]} if heard else {}
            file.write(json.dumps(_plain(row), ensure_ascii=False) + "\n")
    _show(experiment, results, index, side, said, waves, longest, workdir)
    return results


@dataclasses.dataclass(frozen=True)
class _Said:
    """One text as it was spoken.

    Attributes:
      symbols: what was read [L].
      features: mel frames in dB [T, M].
      attention: weights [S, L].
      stopped: whether it ended by itself.
      health: see `metrics.attention_health` and `metrics.words_attended`.
    """

    symbols: np.ndarray
    features: np.ndarray
    attention: np.ndarray
    stopped: bool
    health: dict[str, float]


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


def _say(task: Synthesis, variables, symbols: Sequence, voices, B: int, times: int = 1) -> tuple[list[_Said], float]:
    """Texts as they are spoken, `B` at once, and the seconds it takes; `times` as long ones as the task allows."""
    config = dataclasses.replace(task.config, max_seconds=times * task.config.max_seconds)
    task = dataclasses.replace(task, config=config)
    L = -(-max(map(len, symbols)) // GRAIN) * GRAIN

    @jax.jit
    def speak(variables, batch):
        said = task.predict(variables, batch)
        num_steps = -(-said["num_frames"] // task.model.reduction)
        health = metrics.attention_health(said["attention"], num_steps, batch["num_symbols"])
        return said | {"num_steps": num_steps, "health": health}

    spoken, seconds = [None] * len(symbols), 0.0
    order = sorted(range(len(symbols)), key=lambda i: len(symbols[i]))
    for start in range(0, len(order), B):
        rows = np.resize(order[start : start + B], B)  # the last batch is filled up by itself
        batch = {"symbols": np.zeros((B, L), np.int32), "voice": voices[rows]}
        batch["num_symbols"] = np.array([len(symbols[i]) for i in rows], np.int32)
        for row, i in zip(batch["symbols"], rows, strict=True):
            row[: len(symbols[i])] = symbols[i]
        if not start:
            speak = speak.lower(variables, batch).compile()
        began = time.perf_counter()
        said = jax.device_get(speak(variables, batch))
        seconds += time.perf_counter() - began
        for b, i in enumerate(rows):
            T, S = said["num_frames"][b], said["num_steps"][b]
            spoken[i] = _Said(
                symbols[i],
                said["features"][b, :T].copy(),
                said["attention"][b, :S, : len(symbols[i])].copy(),
                bool(said["stopped"][b]),
                {name: float(values[b]) for name, values in said["health"].items()},
            )
    return spoken, seconds


def _waveforms(task: Synthesis, frames: Sequence[np.ndarray], B: int) -> tuple[list[np.ndarray], float]:
    """Waveforms of mel frames [T, M], and the seconds it takes."""
    longest = max(task.max_frames + task.model.reduction, *map(len, frames))
    sizes = [-(-longest // 4), -(-longest // 2), longest]
    vocode = jax.jit(functools.partial(griffin_lim.mel_to_waveform, task.frontend))
    waves, seconds, compiled = [None] * len(frames), 0.0, {}
    order = sorted(range(len(frames)), key=lambda i: len(frames[i]))
    for start in range(0, len(order), B):
        rows = np.resize(order[start : start + B], B)
        size = next(size for size in sizes if size >= max(len(frames[i]) for i in rows))
        padded = np.zeros((B, size, task.frontend.num_features), np.float32)
        num_frames = np.array([len(frames[i]) for i in rows], np.int32)
        for row, i in zip(padded, rows, strict=True):
            row[: len(frames[i])] = frames[i]
        if size not in compiled:
            compiled[size] = vocode.lower(padded, num_frames).compile()
        began = time.perf_counter()
        samples, length = jax.device_get(compiled[size](padded, num_frames))
        seconds += time.perf_counter() - began
        for b, i in enumerate(rows):
            waves[i] = samples[b, : length[b]].copy()
    return waves, seconds


def _likeness(waves: Mapping[str, Sequence[np.ndarray]], rate: int) -> dict[str, dict[str, np.ndarray]]:
    """How near each system comes to the original, for each figure [B]; NaN for a clip that is hardly there."""
    measured = importlib.util.find_spec("mel_cepstral_distance") is not None

    def compare(one) -> list[dict]:
        *spoken, original = one
        found, true = [], audio_metrics.contours(original, rate)
        for samples in spoken:
            row = dict.fromkeys(("mcd", "pitch", "voicing", "quality"), math.nan)
            row["duration"] = len(samples) / len(original)
            if len(samples) >= SHORTEST_SECONDS * rate:
                near = audio_metrics.align(true, audio_metrics.contours(samples, rate))
                row |= {"pitch": near.pitch_rmse, "voicing": near.voicing_error, "quality": near.quality.score}
                if measured:
                    row["mcd"] = audio_metrics.mel_cepstral_distance(original, samples, rate)
            found.append(row)
        return found

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(compare, zip(*(waves[system] for system in SYSTEMS), strict=True)))
    figures = {
        system: {name: np.array([row[number][name] for row in rows]) for name in rows[0][0]}
        for number, system in enumerate(SYSTEMS[:-1])
    }
    return figures | {"original": {}}


def _similarities(experiment: Experiment, index, waves) -> dict[str, dict[str, np.ndarray]]:
    """How near each system's voice comes to its speaker's, in the mean of some of the speaker's other clips.

    Returns:
      For each system "similarity" [B], a cosine; "closest" [B], whether nobody else in the corpora is nearer; and
      "strangers" [B], the mean similarity to all others. A clip in which no voice is heard is close to nobody.
    """
    config, rng = experiment.config.judge, np.random.default_rng(experiment.config.seed)
    encoder = bundles.load(config.encoder)
    good = np.setdiff1d(np.arange(len(experiment.clips)), list(experiment.problems))
    names = np.unique(experiment.speakers[good])
    known = np.concatenate(
        [rng.permutation(good[experiment.speakers[good] == name])[: config.profile] for name in names]
    )
    vectors = _heard(encoder, [experiment.clips.rows[i]["path"] for i in known])  # [clips, E]
    who, speakers = experiment.speakers[known], experiment.speakers[index]
    profiles = np.stack([_direction(vectors[who == name]) for name in names])  # [P, E]
    # Neither the clip itself, nor the one in which its voice was heard, tells what its speaker sounds like.
    hidden = np.stack([index, experiment.references()[index]], axis=1)
    mine = [vectors[(who == name) & ~np.isin(known, pair)] for name, pair in zip(speakers, hidden, strict=True)]
    mine = np.stack(list(map(_direction, mine)))  # [B, E]
    own = names == speakers[:, None]  # [B, P]
    figures = {}
    for system in SYSTEMS:
        sources = waves[system] if system != "original" else [experiment.clips.rows[i]["path"] for i in index]
        spoken = _heard(encoder, sources, experiment.clips.frontend.sample_rate)
        similarity, others = np.sum(spoken * mine, axis=1), np.where(own, np.nan, spoken @ profiles.T)  # [B], [B, P]
        figures[system] = {"similarity": similarity}
        if len(names) > 1:
            nearest = np.where(np.isnan(others), -np.inf, others).max(axis=1)
            closest = np.nan_to_num(similarity, nan=-np.inf) > nearest
            figures[system]["closest"] = np.where(np.isnan(mine[:, 0]), np.nan, closest)
            count = np.sum(~np.isnan(others), axis=1)
            figures[system]["strangers"] = np.nansum(others, axis=1) / np.where(count > 0, count, np.nan)
    return figures


def _direction(vectors) -> np.ndarray:
    """The mean direction of embeddings [clips, E], of those that are known: a unit vector [E], NaN if none is."""
    total = np.nansum(vectors, axis=0)
    return total / (np.linalg.norm(total) or np.nan)


def _heard(encoder: bundles.Verifier, sources, rate: int | None = None) -> np.ndarray:
    """Embeddings [B, E] of recordings, NaN where there is no voice."""
    heard = list(encoder.voices(sources, rate))
    nobody = np.full(len(encoder.speech_weight), np.nan)
    return np.stack([nobody if isinstance(voice, AudioError) else voice.embedding for voice in heard])


def _recognised(experiment: Experiment, texts, waves):
    """What is heard of each system's clips, the words of each text [B], and each system's word errors [B]."""
    language, rate = experiment.config.language, experiment.clips.frontend.sample_rate
    true = [recognition.words(text, language) for text in texts]
    words = np.array([max(len(one), 1) for one in true])
    why = "it knows English only" if language.partition("-")[0] != "en" else ""
    why = why or ("" if recognition.installed() else "pocketsphinx is not installed: pip install 'lin_jax[eval]'")
    if why:
        print(f"note: no word error rate: {why}")
        return {}, words, {}
    joined = [samples for system in SYSTEMS for samples in waves[system]]
    known = np.unique(experiment.texts) if experiment.config.judge.expected == "texts" else ()
    heard = iter(recognition.recognise(joined, rate, [recognition.words(text, language) for text in known]))
    heard = {system: [next(heard) for _ in texts] for system in SYSTEMS}
    errors = {
        system: np.array([metrics.edit_distance(t, h.split()) for t, h in zip(true, heard[system], strict=True)])
        for system in SYSTEMS
    }
    return heard, words, errors


def _health(experiment: Experiment, spoken: Sequence[_Said], speakers) -> dict:
    """The health of attention over some texts: means with intervals over the voices, and how much was lost in all."""
    total = collections.Counter(texts=len(spoken))
    rows = []
    for one in spoken:
        words = [(w.start(), w.end() - 1) for w in re.finditer(r"\w(?:\S*\w)?", experiment.table.decode(one.symbols))]
        one.health["words_skipped"], one.health["words_repeated"] = metrics.words_attended(one.attention, words)
        total.update(words=len(words), symbols=len(one.symbols), **{name: int(one.health[name]) for name in COUNTS})
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
            weight = words if name == "word_error" else np.ones(len(values))  # errors in all, by words in all
            found[name] = float(np.average(values[known], weights=weight[known]))
            found["intervals"][name] = metrics.bootstrap_mean(values, speakers, weight)
    return found


def _protocol(experiment: Experiment, sides) -> str:
    """What was held out, and where the voices come from."""
    number = len(np.unique(experiment.texts[np.concatenate(list(sides.values()))]))
    voice = "a table of the voices in training"
    if experiment.heard_by != TABLE:
        voice = f"heard by {experiment.heard_by} in another clip of the speaker"
    return f"{number} sentences that nobody learnt from, voices: {voice}"


def _tools(recogniser: str) -> dict[str, str]:
    """The packages whose figures only compare with their own."""
    tools = {"pitch": "librosa", "mcd": "mel-cepstral-distance"}
    found = {}
    for name, package in tools.items():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = f"{package} {importlib.metadata.version(package)}"
    return found | ({"word_error": recogniser} if recogniser else {})


def _show(experiment, results, index, side, said, waves, longest, workdir):
    """Pictures, examples as recordings, and a page with all of them; the same for TensorBoard."""
    rate, config = experiment.clips.frontend.sample_rate, experiment.config.judge
    sides = results["sides"]
    (workdir / "examples").mkdir(exist_ok=True)
    plots = {}
    for name, title in FIGURES.items():
        groups = {
            f"{one} voices": {system: results[one][system][name] for system in SYSTEMS if name in results[one][system]}
            for one in sides
        }
        if any(groups.values()):
            plots[name] = report.plot_groups(groups, workdir / f"{name}.png", title=title)
    by_length = {}
    for one, length in itertools.product(sides, config.lengths):
        if found := results[one]["attention"].get(str(length)):
            by_length.setdefault(f"{length}×", {})[f"{one} voices"] = found["diagonal"]
    title = "texts read from end to end, by their length"
    plots["attention"] = report.plot_groups(by_length, workdir / "attention.png", title=title)

    cards, sounds, pictures = [], {}, {}
    for one in sides:
        for number, b in enumerate(np.flatnonzero(side == one)[: config.examples]):
            for system in SYSTEMS:
                samples, stem = waves[system][b], f"{one}-{number}-{system}"
                if not len(samples):
                    continue
                samples, path = np.clip(samples, -1, 1), workdir / f"examples/{stem}.flac"
                if system == "original":
                    files.write(path, samples, rate)
                else:
                    bundles.Speech(samples, rate, (), f"{system} by experiments.synthesis").write(path)
                path = path.with_suffix(".png")
                if system == "generated":
                    figure = _alignment(experiment, said[b], path)
                    pictures[f"{one}/{number}"] = report.pixels(figure)
                else:
                    figure = report.plot_spectrogram(samples, rate, path)
                sounds[f"{one}/{number}/{system}"] = samples
                speaker, text = experiment.speakers[index[b]], experiment.texts[index[b]]
                parts = [report.picture(figure, str(text)), report.player(samples, rate)]
                cards.append((f"{one} voice {speaker}: {system}", parts))
    drawn = [
        report.picture(_alignment(experiment, one, workdir / f"long-{name}.png"), f"the longest text, {name} voice")
        for name, one in longest.items()
    ]
    with contextlib.closing(writers.create(workdir, experiment.config.train.num_steps)) as writer:
        writer.write_images(results["step"], pictures | {name: report.pixels(plot) for name, plot in plots.items()})
        writer.write_audios(results["step"], sounds, sample_rate=rate)

    header = ["voices", "figure", *SYSTEMS]
    rows = [
        [one, title, *(_number(results[one][system], name) for system in SYSTEMS)]
        for one in sides
        for name, title in FIGURES.items()
        if any(name in results[one][system] for system in SYSTEMS)
    ]
    lost = ["voices", "length", "texts", *HEALTH.values(), "symbols skipped", "repeated", "words skipped", "repeated"]
    health = [
        [one, f"{length}×", found["texts"], *(_number(found, name) for name in HEALTH), *(found[n] for n in COUNTS)]
        for one in sides
        for length, found in results[one]["attention"].items()
    ]
    reading = (
        "Read from end to end: attention passes over no more than three symbols at once, never goes back by more, and "
        "reaches the end. A word is skipped if attention is never on it or beside it, and repeated if it goes back."
    )
    speed = f"{results['real_time_factor']:.2f} of its length to speak, {results['batch_size']} texts at once"
    sections = [
        report.Section("All figures", "Means, with 95 % intervals over the speakers.", [report.table(header, rows)]),
        report.Section("Attention", reading, [report.table(lost, health), report.picture(plots["attention"]), *drawn]),
        report.Section("Examples", "", [report.cards(cards)]),
        report.Section(
            "Compared", "", [report.picture(plots[name], title) for name, title in FIGURES.items() if name in plots]
        ),
        report.Section(
            "How it was judged",
            results["protocol"],
            [report.table(["what", "with"], [*results["tools"].items(), ("voices", results["encoder"])])],
        ),
    ]
    lead = "; ".join([*(f"{one} voices: {_told(results[one])}" for one in sides), speed])
    report.write_html(workdir / "report.html", "Synthesis", sections, lead=lead)


def _alignment(experiment: Experiment, one: _Said, path):
    symbols = experiment.table.decode(one.symbols)
    hop = experiment.clips.frontend.hop_length / experiment.clips.frontend.sample_rate
    return report.plot_alignment(one.attention, symbols, one.features, len(one.features) * hop, path)


def _told(found: Mapping) -> str:
    """The figures that matter of one side, in one line."""
    generated, original, attention = found["generated"], found["original"], found["attention"].get("1", {})
    parts = [f"{found['clips']} clips of {found['speakers']} speakers"]
    if "mcd" in generated:
        parts.append(f"MCD {generated['mcd']:.2f} dB (copied {found['copied']['mcd']:.2f})")
    if "word_error" in generated:
        parts.append(f"word errors {generated['word_error']:.0%} (original {original['word_error']:.0%})")
    if "closest" in generated:
        parts.append(f"closest to its speaker {generated['closest']:.0%} (original {original['closest']:.0%})")
    if attention:
        parts.append(f"diagonal {attention['diagonal']:.0%}, stop failures {attention['stop_failures']:.0%}")
        parts.append(f"{attention['words_skipped']} words skipped, {attention['words_repeated']} repeated")
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
