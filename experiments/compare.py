r"""Synthesizers compared on the same held-out sentences: quality score, words, and whose voice it is.

    python -m data_pipelines librispeech --audio-dir readers --out features/readers --for synthesis
    python -m experiments.compare --features features/readers --workdir runs/compare \
        --bundles baseline=runs/baseline/ship/conversion,synthesis --snr 5 \
        --speakers 1221,1284,908,2300,4077

Each bundle is a row, and says texts; name readers whom none of them learnt from. With --snr the
voices of the last one are also cloned from references in noise, as they are and repaired before:
noisy reference, repair, speaker encoder, synthesizer. A baseline of one speaker, without the
convolutions that refine its frames, is trained by `experiments.conversion --preset baseline`. It
writes results.json, report.html, and the bars, the shares of the score and the spectrograms as PNG.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

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
    named = (item.rpartition("=") for item in args.bundles.split(","))
    bundle_of = {name or folder: folder for name, _, folder in named}
    experiments = {
        name: synthesis.Experiment(config, args.features, folder)
        for name, folder in bundle_of.items()
    }
    names = list(experiments)
    first = experiments[names[0]]
    if args.speakers:
        hold_out(first, args.speakers.split(","))
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
    (args.workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0


def hold_out(experiment: synthesis.Experiment, speakers: list[str]) -> None:
    """Take all sentences of some speakers, and of nobody else, as the held-out ones.

    Raises:
        ConfigError: one of them is not there.
    """
    people = splits.plain_names(experiment.clips.people)
    if missing := set(speakers) - set(people):
        raise ConfigError(f"{missing.pop()}: no such speaker: check --speakers")
    wanted, usable = np.isin(people, speakers), np.ones(len(people), bool)
    usable[list(experiment.problems)] = False
    sides = (~wanted & usable, np.zeros(len(people), bool), wanted & usable)
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
