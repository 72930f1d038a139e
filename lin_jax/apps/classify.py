"""Commands that name what a recording is: `lin emotion`, `lin gender`."""

import itertools
import json
from collections.abc import Iterator

from lin_jax.apps.common import (
    Command,
    clock,
    complain,
    finish,
    load_bundle,
    progress,
    recordings,
    shown,
)
from lin_jax.errors import AudioError


def _classify_arguments(parser):
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="FILE|DIR",
        help="a recording, or a folder of them with its subfolders",
    )
    parser.add_argument(
        "--model",
        metavar="BUNDLE",
        help="a bundle folder of your own instead of the one that ships",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line, for programs"
    )
    parser.add_argument(
        "--timeline",
        action="store_true",
        help="say what is heard when, window by window; for recordings of any length",
    )


def _classify(args) -> int:
    """Print what a classification bundle hears in each recording."""
    found, failed = recordings(args.inputs)
    bundle = load_bundle(args.model or args.command, "classification") if found else None
    width = min(48, max((len(shown(path)) for path in found), default=0))
    done = 0
    with progress(1 if args.timeline else len(found), "file") as bar:
        for path in found:
            try:
                lines = (
                    _timeline(bundle, path, args)
                    if args.timeline
                    else [_line(bundle, path, args, width)]
                )
                for line in lines:
                    bar.write(line)
                done += 1
            except AudioError as error:
                complain(error)
                failed += 1
            bar.update()
    return finish(done, failed)


def _line(bundle, path, args, width) -> str:
    heard = bundle.predict(path)
    if args.json:
        return json.dumps(answer(args.command, path, heard))
    return f"{shown(path):<{width}}  {_ranked(heard)}"


def answer(command: str, path: str, heard) -> dict:
    """What `--json` and the HTTP API say of a recording: file, the job's name with its label, and how sure it is."""
    return {
        "file": path,
        command: heard.label,
        "probability": round(heard.probability, 6),
        "seconds": round(heard.seconds, 3),
        "probabilities": _rounded(heard.probabilities),
    }


def _timeline(bundle, path, args) -> Iterator[str]:
    from lin_jax.audio import files

    seconds = files.duration(path)
    with progress(round(seconds), "s") as bar:

        def heard():
            for segment in bundle.timeline(path):
                yield segment
                bar.update(segment.end - segment.start)

        if args.json:
            for segment in heard():
                span = {"start": round(segment.start, 3), "end": round(segment.end, 3)}
                said = {"file": path, **span, args.command: segment.label}
                yield json.dumps(said | {"probabilities": _rounded(segment.probabilities)})
            return
        head = f"{shown(path)}  {clock(seconds)}"
        for label, run in itertools.groupby(heard(), key=lambda segment: segment.label):
            run = list(run)
            if label in run[0].probabilities:
                what = f"{label:<10} {sum(segment.probabilities[label] for segment in run) / len(run):4.0%}"
            else:
                what = label or "(silence)"
            if head:  # only now is it known that the recording can be read
                yield head
            head = None
            yield f"  {clock(run[0].start)} – {clock(run[-1].end)}  {what}"


def _ranked(heard) -> str:
    """The label, then the two likeliest others; where it is none of them, such as "unsure", it stands alone."""
    others = {name: share for name, share in heard.probabilities.items() if name != heard.label}
    ranked = sorted(others.items(), key=lambda item: -item[1])
    rest = ", ".join(f"{name} {share:.0%}" for name, share in ranked[:2])
    share = (
        f"{heard.probabilities[heard.label]:4.0%}" if heard.label in heard.probabilities else "    "
    )
    return f"{heard.label:<10} {share}   {rest}".rstrip()


def _rounded(probabilities: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 6) for name, share in probabilities.items()}


COMMANDS = (
    Command(
        name="emotion",
        summary="say which emotion a voice carries",
        teach="""\
examples:
  lin emotion clip.wav                     one line: the emotion, how sure it is, what comes next
  lin emotion recordings/                  every recording in a folder and below it
  lin emotion --timeline interview.mp3     what is heard when; a recording may last hours
  lin emotion --json *.wav | jq .emotion   one JSON object a line: file, emotion, probability, seconds, probabilities

WAV, FLAC, Ogg, Opus, MP3 and AIFF are read, at any rate and with any number of channels.
It learnt from acted studio speech. In the EU it is forbidden at work and in education (docs/responsible-use.md).
A recording that cannot be used is named on stderr and the rest goes on.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
        add_arguments=_classify_arguments,
        run=_classify,
    ),
    Command(
        name="gender",
        summary="say whether a voice is female or male, or that nobody speaks",
        teach="""\
examples:
  lin gender clip.wav                      one line: female, male, no speech or unsure, and how likely each is
  lin gender recordings/                   every recording in a folder and below it
  lin gender --timeline meeting.mp3        who speaks when; a recording may last hours
  lin gender --json *.wav | jq .gender     one JSON object a line: file, gender, probability, seconds, probabilities

Noise and silence are "no speech"; where neither answer is likely enough it says "unsure".
It hears how a voice sounds, not who somebody is; the voices of boys and girls sound alike. Do not sort people by it
(docs/responsible-use.md).
A recording that cannot be used is named on stderr and the rest goes on.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
        add_arguments=_classify_arguments,
        run=_classify,
    ),
)
