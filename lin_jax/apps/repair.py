"""The command that restores damaged recordings: `lin repair`."""

import contextlib
import dataclasses
import json
import os
import time

from lin_jax.apps import output_paths
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
from lin_jax.bundles import Repairer, RepairResult
from lin_jax.errors import AudioError, ConfigError

# From here on a fault is worth a word: shares of the samples, and the edge of a band in Hz.
CLIPPED, CUT, NARROW = 1e-4, 1e-4, 7000.0


def _arguments(parser):
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE|DIR", help="a recording, or a folder with its subfolders"
    )
    parser.add_argument(
        "--out", metavar="FILE|DIR", help="where to; a folder is made and takes any number of them"
    )
    parser.add_argument(
        "--in-place", action="store_true", help="replace each recording by what becomes of it"
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="0..1",
        help="how much of the repair is mixed in (default: 1)",
    )
    parser.add_argument(
        "--model",
        metavar="BUNDLE",
        default="repair",
        help="a bundle folder of your own instead of the one that ships",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line, for programs"
    )


def _repair(args) -> int:
    """Restore recordings and print what was wrong with each."""
    from lin_jax.audio import files

    pairs, failed = _pairs(args)
    if not pairs:
        return 2
    bundle = load_bundle(args.model, Repairer.task)
    total = 0.0
    for source, _ in pairs:
        with contextlib.suppress(AudioError):  # it is named when its turn comes
            total += files.duration(source)
    done, seconds, started = 0, 0.0, time.perf_counter()
    with progress(round(total), "s") as bar:
        for result in bundle.repair_files(pairs, args.strength, bar.update):
            if isinstance(result, AudioError):
                complain(result)
                failed += 1
                continue
            done += 1
            seconds += result.seconds
            speed = seconds / (time.perf_counter() - started)
            bar.write(
                json.dumps(answer(result) | {"speed": round(speed, 2)})
                if args.json
                else _line(result)
            )
            if result.cut > CUT:
                complain(f"{result.out}: {loss(result)}")
    if done and not args.json:
        print(f"{clock(seconds)} of sound, {speed:.3g} times as fast as it plays")
    return finish(done, failed)


def answer(result: RepairResult) -> dict:
    """What `--json` says of a recording: what was wrong with it before and is after, and what was written where."""
    return {
        "file": result.source,
        "out": result.out,
        "seconds": round(result.seconds, 3),
        "format": result.format,
        "before": _rounded(result.before),
        "after": _rounded(result.after),
        "cut": round(result.cut, 6),
    }


def _rounded(diagnosis) -> dict:
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in dataclasses.asdict(diagnosis).items()
    }


def findings(result: RepairResult) -> list[str]:
    """What was wrong with a recording, and what became of it, in words."""
    before, after = result.before, result.after
    noise = [f"{level:.0f}" for level in (before.noise_db, after.noise_db) if level is not None]
    said = {
        "silent, left as it is": before.silent,
        f"noise {' → '.join(noise)} dB": noise and not before.silent,
        f"clipped {before.clipped:.1%}": before.clipped > CLIPPED,
        f"nothing above {(before.band_hz or 0) / 1000:.1f} kHz": before.band_hz
        and before.band_hz < NARROW,
        f"offset {before.dc_offset:.3f} removed": before.dc_offset,
        f"{result.format.split()[0]} encoded anew, which loses a little": result.lossy,
    }
    return [words for words, holds in said.items() if holds]


def loss(result: RepairResult) -> str:
    """What was lost where more than `CUT` of the samples were cut."""
    return (
        f"{result.cut:.2%} of the samples are beyond full scale and were cut, as {result.format} must; "
        "turn the recording down first, or write floating point"
    )


def _line(result: RepairResult) -> str:
    place = (
        shown(result.out)
        if result.out == result.source
        else f"{shown(result.source)} → {shown(result.out)}"
    )
    return f"{place}  {clock(result.seconds)}  {', '.join(findings(result))}".rstrip()


def _pairs(args) -> tuple[list[tuple[str, str]], int]:
    """Which recordings become which files, and how many inputs name none; ConfigError if that cannot be."""
    if bool(args.out) == args.in_place:
        raise ConfigError("name one place: --out FILE|DIR, or --in-place to replace the recordings")
    if args.out:
        return output_paths.pairs(args.inputs, args.out)
    found, failed = recordings(args.inputs)
    # A recording that is named twice is repaired once.
    return list({os.path.realpath(path): (path, path) for path in found}.values()), failed


COMMANDS = (
    Command(
        name="repair",
        summary="restore noisy and damaged recordings",
        teach="""\
examples:
  lin repair noisy.wav --out clean.wav            noise, clipping, drop-outs, narrow band: what is wrong, and where to
  lin repair interviews/ --out clean/             every recording of a folder, under its name; hours-long ones too
  lin repair *.flac --in-place                    each is replaced once all of it is repaired
  lin repair noisy.wav --out half.wav --strength 0.5
  lin repair --json noisy.wav --out clean.wav | jq .before.noise_db

Sample rate, channels, length and loudness stay. So does the encoding, if the suffix of --out can hold it. MP3, Ogg and
Opus are encoded anew; name a .wav or .flac to lose nothing more.
A recording that cannot be used is named on stderr and the rest goes on.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
        add_arguments=_arguments,
        run=_repair,
    ),
)
