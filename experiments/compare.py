r"""Synthesizers compared on the same held-out sentences: quality score, words, and whose voice it is.

    python -m data_pipelines librispeech --audio-dir readers --out features/readers --for synthesis
    python -m experiments.compare --features features/readers --workdir runs/compare \
        --bundles baseline=runs/baseline/ship/conversion,synthesis --snr 5 \
        --speakers 1221,1284,908,2300,4077

Each bundle is a row, and says texts; name readers whom none of them learnt from. With --snr the
voices of the last one are also cloned from references in noise, as they are and repaired before:
noisy reference, repair, speaker encoder, synthesizer. The last row are the recordings themselves
through the vocoder. Synthesizers of one speaker, without the convolutions that refine their frames
and with them, are trained by `experiments.conversion --preset baseline` and `improved`; they say
the sentences of their speaker that they did not learn:

    python -m data_pipelines table --audio-dir KATHLEEN --out features/kathleen --for synthesis
    python -m experiments.conversion --features features/kathleen --workdir runs/baseline \
        --preset baseline --config.anchor_voices=kathleen
    python -m experiments.conversion --features features/kathleen --workdir runs/improved \
        --preset improved --config.anchor_voices=kathleen
    python -m experiments.compare --features features/kathleen --workdir runs/compare --snr 5 \
        --speakers kathleen --hold-out-texts 0.08 --bundles \
        baseline=runs/baseline/ship/conversion,improved=runs/improved/ship/conversion,multi-speaker=synthesis

It writes results.json, report.html, the bars, the shares of the score and the spectrograms as PNG,
and what was said, with a list of it (spoken.jsonl) for judges of your own.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines import splits
from experiments import synthesis
from lin_jax import bundles
from lin_jax.audio import files, mixing
from lin_jax.errors import ConfigError, exit_code
from lin_jax.evaluation import comparison
from lin_jax.evaluation.synthesis import Sentence


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m experiments.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--features", required=True, help="feature sets, with commas between them")
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="where results go")
    parser.add_argument(
        "--bundles", default="synthesis", help="names, folders or ROW=FOLDER, with commas between"
    )
    parser.add_argument(
        "--speakers", default="", help="who is compared with, with commas between; default: drawn"
    )
    parser.add_argument(
        "--hold-out-texts",
        type=float,
        metavar="SHARE",
        help="of --speakers only the sentences that trainings with this setting leave out",
    )
    parser.add_argument("--snr", type=float, metavar="DB", help="of noise in the references, too")
    parser.add_argument("--sentences", type=int, default=20, help="default 20")
    args = parser.parse_args(arguments)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Compare; returns the exit code.

    Raises:
        ConfigError: a bundle that does not speak from text, or as for `comparison.compare`.
    """
    config = dataclasses.replace(synthesis.CONFIG, init="")
    config.eval = dataclasses.replace(config.eval, clips=args.sentences)
    if args.hold_out_texts:
        config.hold_out_texts = args.hold_out_texts
    named = (item.rpartition("=") for item in args.bundles.split(","))
    bundle_of = {name or folder: folder for name, _, folder in named}
    experiments = {
        name: synthesis.Experiment(config, args.features, folder)
        for name, folder in bundle_of.items()
    }
    names = list(experiments)
    first = experiments[names[0]]
    if args.speakers:
        hold_out(first, args.speakers.split(","), texts=bool(args.hold_out_texts))
    sentences = [s for s in first.test_set() if s.kind == "unseen"]
    if not sentences:
        raise ConfigError("no sentences of speakers who were held out: name some by --speakers")
    systems = {name: (each.given, sentences) for name, each in experiments.items()}
    if silent := [name for name, (bundle, _) in systems.items() if "text" not in bundle.sources]:
        raise ConfigError(f"{silent[0]}: does not speak from text: compare another bundle")
    for bundle, _ in systems.values():
        bundle.sources = ("text",)  # what they make of recordings is not compared
    if args.snr is not None:
        bundle, last = experiments[names[-1]].given, names[-1]
        noisy, repaired = in_noise(sentences, args.snr, args.workdir / "references")
        systems[f"{last}, {args.snr:g} dB"] = bundle, noisy
        systems[f"{last}, {args.snr:g} dB, repaired"] = bundle, repaired
    rows, spoken = comparison.compare(systems, first.profiles)
    print(comparison.summary(rows))
    speakers = sorted({s.speaker for s in sentences})
    protocol = (
        f"{len(sentences)} sentences of {', '.join(speakers)}, provided that no bundle learnt from "
        f"them; voices cloned from {config.eval.seconds:g} s of other recordings"
    )
    results = {"protocol": protocol, "sentences": len(sentences), "systems": rows}
    comparison.report(rows, spoken, sentences, protocol, args.workdir)
    write_spoken(spoken, sentences, args.workdir / "spoken")
    (args.workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0


def write_spoken(spoken: Mapping, sentences: Sequence[Sentence], folder: pathlib.Path) -> None:
    """Write what every system said, and in spoken.jsonl beside the folder what it should have."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for system, row in spoken.items():
        plain = re.sub(r"\W+", "-", system).strip("-")
        for number, (speech, sentence) in enumerate(zip(row, sentences, strict=True)):
            if speech is None:
                continue
            path = folder / f"{plain}-{number:03d}.flac"
            speech.write(path)
            entry = {"file": f"{folder.name}/{path.name}", "text": sentence.text}
            lines.append(json.dumps(entry | {"kind": system, "speaker": sentence.speaker}))
    folder.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")


def hold_out(experiment: synthesis.Experiment, speakers: list[str], *, texts: bool) -> None:
    """Take sentences of some speakers, and of nobody else, as the held-out ones.

    Args:
        experiment: whose split it is.
        speakers: their names.
        texts: whether of their sentences only those that the split holds out already.

    Raises:
        ConfigError: one of them is not there.
    """
    people = splits.plain_names(experiment.clips.people)
    if missing := set(speakers) - set(people):
        raise ConfigError(f"{missing.pop()}: no such speaker: check --speakers")
    wanted, usable = np.isin(people, speakers), experiment.usable
    test = wanted & usable
    if texts:
        test &= np.isin(np.arange(len(people)), experiment.split.test)
    sides = (~wanted & usable, np.zeros(len(people), bool), test)
    experiment.split = splits.Split("speaker-disjoint", *map(np.flatnonzero, sides))


def in_noise(sentences: list[Sentence], snr_db: float, folder: pathlib.Path):
    """The sentences with references in noise, and with those repaired; both are written."""
    repairer, rng = bundles.load("repair"), np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    places: dict[str, tuple[str, str]] = {}
    for path in dict.fromkeys(path for s in sentences for path in s.references):
        stem = folder / f"{len(places):03d}"
        places[path] = f"{stem}-noisy.flac", f"{stem}-repaired.flac"
        samples, rate = files.read(path)
        noise = rng.standard_normal(len(samples)).astype(np.float32)
        noisy = mixing.add_noise(samples, noise, snr_db)
        for place, audio in zip(places[path], (noisy, repairer.repair(noisy, rate)), strict=True):
            files.write(place, audio / max(1.0, float(np.abs(audio).max())), rate)
    return (
        [
            dataclasses.replace(s, references=tuple(places[path][kind] for path in s.references))
            for s in sentences
        ]
        for kind in (0, 1)
    )


if __name__ == "__main__":
    sys.exit(main())
