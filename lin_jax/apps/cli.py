"""The command line: `lin COMMAND …`, one command a job.

Exit codes: 0 all was done, 1 some inputs failed and were named on stderr, 2 nothing could be done, 130 interrupted.
"""

import argparse
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator

import lin_jax
from lin_jax.errors import AudioError, exit_code


@dataclasses.dataclass(frozen=True)
class Command:
    """A job on the command line: its name, what `--help` teaches, its arguments, and what it does (→ exit code)."""

    name: str
    summary: str
    teach: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: list[str] | None = None) -> int:
    """Run `lin` with these arguments (those of the process by default) and return the exit code."""
    args = _parser().parse_args(argv)
    return exit_code(lambda: args.run(args), prefix="lin")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lin",
        description="Speech tools that run on your own machine: nothing you give them leaves it.",
        epilog="lin COMMAND --help shows what a command takes, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"lin_jax {lin_jax.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for command in COMMANDS:
        child = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            epilog=command.teach,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(child)
        child.set_defaults(run=command.run)
    return parser


def _classify_arguments(parser):
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE|DIR", help="a recording, or a folder of them with its subfolders"
    )
    parser.add_argument("--model", metavar="BUNDLE", help="a bundle folder of your own instead of the one that ships")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")
    parser.add_argument(
        "--timeline", action="store_true", help="say what is heard when, window by window; for recordings of any length"
    )


def _classify(args) -> int:
    """Print what a classification bundle hears in each recording."""
    found, failed = _recordings(args.inputs)
    bundle = lin_jax.load(args.model or args.command) if found else None
    width = min(48, max((len(_shown(path)) for path in found), default=0))
    done = 0
    with _progress(1 if args.timeline else len(found), "file") as progress:
        for path in found:
            try:
                lines = _timeline(bundle, path, args) if args.timeline else [_line(bundle, path, args, width)]
                for line in lines:
                    progress.write(line)
                done += 1
            except AudioError as error:
                _complain(error)
                failed += 1
            progress.update()
    if failed and done:
        _complain(f"{failed} of {done + failed} could not be used, see above; the others were done")
    return 0 if not failed else 1 if done else 2


def _recordings(inputs) -> tuple[list[str], int]:
    """The recordings that the inputs name, in order, and how many inputs named none."""
    from lin_jax.audio import files

    found, failed = [], 0
    for name in inputs:
        try:
            found += map(str, files.find(name)) if os.path.isdir(name) else [name]
        except AudioError as error:
            _complain(error)
            failed += 1
    return found, failed


def _line(bundle, path, args, width) -> str:
    heard = bundle.predict(path)
    if args.json:
        values = {"file": path, args.command: heard.label, "seconds": round(heard.seconds, 3)}
        return _json(values, heard.probabilities)
    return f"{_shown(path):<{width}}  {_ranked(heard.probabilities)}"


def _timeline(bundle, path, args) -> Iterator[str]:
    from lin_jax.audio import files

    seconds = files.duration(path)
    with _progress(round(seconds), "s") as progress:

        def heard():
            for segment in bundle.timeline(path):
                yield segment
                progress.update(segment.end - segment.start)

        if args.json:
            for segment in heard():
                span = {"start": round(segment.start, 3), "end": round(segment.end, 3)}
                yield _json({"file": path, **span, args.command: segment.label}, segment.probabilities)
            return
        head = f"{_shown(path)}  {_clock(seconds)}"
        for label, run in itertools.groupby(heard(), key=lambda segment: segment.label):
            run = list(run)
            share = sum(segment.probabilities[label] for segment in run) / len(run) if label else 0
            what = f"{label:<10} {share:4.0%}" if label else "(silence)"
            if head:  # only now is it known that the recording can be read
                yield head
            head = None
            yield f"  {_clock(run[0].start)} – {_clock(run[-1].end)}  {what}"


def _ranked(probabilities: dict[str, float]) -> str:
    """The likeliest label, then the two that follow it."""
    (label, share), *others = sorted(probabilities.items(), key=lambda item: -item[1])
    rest = ", ".join(f"{name} {other:.0%}" for name, other in others[:2])
    return f"{label:<10} {share:4.0%}   {rest}".rstrip()


def _clock(seconds: float) -> str:
    return f"{int(seconds // 3600)}:{int(seconds // 60 % 60):02d}:{seconds % 60:04.1f}"


def _json(values: dict, probabilities: dict[str, float]) -> str:
    return json.dumps(values | {"probabilities": {name: round(share, 6) for name, share in probabilities.items()}})


def _progress(total: int, unit: str):
    """A bar on stderr where that is a terminal and there is something to wait for; its `write` prints to stdout."""
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, disable=None if total > 1 else True, leave=False)


def _shown(value) -> str:
    """Any path or error as text a terminal takes, also where a file name is not UTF-8."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _complain(problem):
    from tqdm import tqdm

    tqdm.write(f"lin: {_shown(problem)}", file=sys.stderr)


COMMANDS = (
    Command(
        name="emotion",
        summary="say which emotion a voice carries",
        teach="""\
examples:
  lin emotion clip.wav                     one line: the emotion, how sure it is, what comes next
  lin emotion recordings/                  every recording in a folder and below it
  lin emotion --timeline interview.mp3     what is heard when; a recording may last hours
  lin emotion --json *.wav | jq .emotion   one JSON object a line: file, emotion, seconds, probabilities

WAV, FLAC, Ogg, Opus, MP3 and AIFF are read, at any rate and with any number of channels.
A recording that cannot be used is named on stderr and the rest goes on.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
        add_arguments=_classify_arguments,
        run=_classify,
    ),
)


if __name__ == "__main__":
    sys.exit(main())
