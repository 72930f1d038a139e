"""Prepare a corpus for training: `python -m data_pipelines ravdess --audio-dir RAVDESS --out features/ravdess`.

A command before it does something else with the recordings, such as `inspect ravdess`.
"""

import argparse
import dataclasses
import gc
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

from data_pipelines import corpora, features, kit
from data_pipelines.corpora import UNKNOWN, Utterance
from lin_jax import compilation_cache
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import exit_code

EPILOG = """Run the same command again to go on after a stop. What could not be used is listed in OUT/report.json.
Exit code: 0 all clips written, 1 some were skipped, 2 nothing could be done."""

KIT_EPILOG = """Run the same command again to go on after a stop; what is written is a corpus again, named `table`.
Exit code: 0 all recordings were used, 1 some could not be, 2 nothing could be done."""

SHOWN = 10  # skipped recordings, or speakers, named on the terminal; the report has them all


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    compilation_cache.enable()
    return exit_code(lambda: run(args), interrupted="stopped: run the same command again to go on")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line, teaching on a mistake."""
    parser = argparse.ArgumentParser("python -m data_pipelines", description=__doc__)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="CORPUS | COMMAND CORPUS"
    )
    for name in corpora.CORPORA:
        _add_preparation(commands, name)
    for name in kit.COMMANDS:
        _add_kit(commands, name)
    return parser.parse_args(arguments)


def run(args: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit code."""
    corpus = corpora.find(args.corpus)
    if hasattr(corpus, "obtain"):
        corpus.obtain(args)
    audio_options = corpus.options(args) if hasattr(corpus, "options") else {}
    utterances = corpora.load(args.corpus, args.audio_dir, **audio_options)
    if args.command in kit.COMMANDS:
        skipped = kit.find(args.command).run(utterances, args)
        _print_skipped(list(skipped.values()), "")
        return 1 if skipped else 0
    return _prepare(utterances, args)


def _prepare(utterances: list[Utterance], args: argparse.Namespace) -> int:
    """Make a feature set of utterances; returns the exit code."""
    frontend, store, speeds = FrontendConfig(), features.STORES[0], []
    if args.needed_for:
        frontend, store, speeds = features.needed_by(args.needed_for)
    utterances = corpora.speed_perturbed(utterances, args.speeds or speeds)
    options = vars(args)
    chosen = {
        field.name: options[f"frontend.{field.name}"]
        for field in dataclasses.fields(FrontendConfig)
        if f"frontend.{field.name}" in options
    }
    frontend, store = dataclasses.replace(frontend, **chosen), args.store or store
    report = features.prepare(
        utterances,
        args.out,
        frontend,
        store=store,
        licence=args.licence or corpora.licence(args.corpus),
        workers=args.workers,
        beam=args.beam,
    )
    skipped = {path for path, _ in report.skipped}
    speakers = len(
        {utterance.speaker for utterance in utterances if str(utterance.path) not in skipped}
    )
    print(
        f"{report.written} clips ({report.audio_seconds / 60:.1f} min, {speakers} speakers) are in {args.out}, "
        f"made in {report.seconds:.1f} s; {len(report.skipped)} skipped"
    )
    for remark in _remarks(utterances):
        print(f"note: {remark}", file=sys.stderr)
    _print_skipped([reason for _, reason in report.skipped], f": see {args.out / 'report.json'}")
    return 1 if report.skipped else 0


def _print_skipped(reasons: list[str], where: str) -> None:
    for reason in reasons[:SHOWN]:
        print(f"skipped {reason}", file=sys.stderr)
    if len(reasons) > SHOWN:
        print(f"… and {len(reasons) - SHOWN} more{where}", file=sys.stderr)


def _remarks(utterances: list[Utterance]) -> Iterator[str]:
    """What is no fault of a corpus, but limits what it can teach."""
    speakers = {utterance.speaker for utterance in utterances}
    if len(speakers) == 1:
        yield f"one speaker only, {speakers.pop()}: none is left to judge on; if there are more, check --audio-dir"
        return
    for name in utterances[0].labels:
        without = sorted(
            {utterance.speaker for utterance in utterances if utterance.labels[name] == UNKNOWN}
        )
        if without:
            named = ", ".join(without[:SHOWN]) + ("…" if len(without) > SHOWN else "")
            yield f"{name} is unknown for {len(without)} of {len(speakers)} speakers: {named}"


def _add_kit(commands, name: str):
    """A command of the data kit, which takes any corpus."""
    command = kit.find(name)
    parser = commands.add_parser(
        name,
        help=command.SUMMARY,
        description=command.__doc__,
        epilog=f"python -m data_pipelines {name} CORPUS --help lists the options, such as --audio-dir and --out",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    named = parser.add_subparsers(dest="corpus", required=True, metavar="CORPUS")
    for corpus in corpora.CORPORA:
        parser = _add_corpus(named, corpus, "where the results go", epilog=KIT_EPILOG)
        if hasattr(command, "add_arguments"):
            command.add_arguments(parser)


def _add_corpus(commands, name: str, out: str, epilog: str) -> argparse.ArgumentParser:
    """A command that takes the recordings of a corpus."""
    corpus = corpora.find(name)
    parser = commands.add_parser(
        name, help=corpus.SUMMARY, description=corpus.SUMMARY, epilog=epilog
    )
    parser.set_defaults(corpus=name)
    if hasattr(corpus, "add_arguments"):
        corpus.add_arguments(parser)
    parser.add_argument(
        "--audio-dir", type=Path, required=True, metavar="FOLDER", help="the corpus"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=out)
    return parser


def _add_preparation(commands, name: str):
    """A corpus by itself: its feature set is made."""
    parser = _add_corpus(commands, name, "where the feature set goes", EPILOG)
    parser.add_argument(
        "--for",
        dest="needed_for",
        metavar="BUNDLE",
        help="store, front end and speeds as a bundle needs them, such as emotion or a folder of your own; "
        "those of the networks fused with it: emotion/fused",
    )
    parser.add_argument(
        "--store",
        choices=features.STORES,
        help=f"{features.STORES[0]} (default), or the waveform they are made of, so that training can augment it",
    )
    parser.add_argument(
        "--speeds",
        type=float,
        nargs="+",
        default=(),
        metavar="FACTOR",
        help="play each recording at these besides, pitch and all, as those of further speakers (such as 0.87 1.15)",
    )
    parser.add_argument(
        "--licence",
        default="",
        metavar="NAME",
        help='terms of the recordings, such as "CC BY 4.0", for the cards of what is trained on them '
        "(default: those of the corpus' release)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="threads (default: one for each core)"
    )
    parser.add_argument(
        "--beam",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="do it on Apache Beam; what follows are options of its pipeline, such as "
        "--runner=FlinkRunner --flink_master=HOST:PORT (default: its direct runner)",
    )
    group = parser.add_argument_group("front end")
    hints = typing.get_type_hints(FrontendConfig)
    for field in dataclasses.fields(FrontendConfig):
        group.add_argument(
            f"--frontend.{field.name}",
            type=_reader(hints[field.name]),
            default=argparse.SUPPRESS,
            metavar=field.name.upper(),
            help=f"(default {field.default}, or what --for needs)",
        )


def _reader(hint):
    """How to read a value of a field's type from the command line; `none` where the type allows it."""
    kinds = typing.get_args(hint) or (hint,)

    def read(text: str):
        return None if type(None) in kinds and text.lower() == "none" else kinds[0](text)

    read.__name__ = kinds[0].__name__  # argparse says "invalid float value"
    return read


if __name__ == "__main__":
    gc.set_threshold(100_000)  # imports make many objects and few cycles
    sys.exit(main())
