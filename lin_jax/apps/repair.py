"""The command that restores damaged recordings: `lin repair`."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import time
from typing import TYPE_CHECKING, Annotated

from lin_jax.apps import live, output_paths, serving
from lin_jax.apps.common import (
    Command,
    clock,
    complain,
    finish,
    inputs_argument,
    json_argument,
    load_bundle,
    model_argument,
    printable,
    progress,
    recordings,
)
from lin_jax.apps.jobs import Job, example_speech
from lin_jax.errors import AudioError, ConfigError

if TYPE_CHECKING:  # JAX takes half a second, in which a missing file is named
    from lin_jax.bundles import RepairResult

KIND = "repair"

# From here on a fault is worth a word: shares of the samples, and the edge of a band in Hz.
CLIPPED, CUT, NARROW = 1e-4, 1e-4, 7000.0
# From so many dB of full scale on, noise is called so.
NOISE = ((-35.0, "very noisy"), (-50.0, "noisy"), (-60.0, "a little noise"), (-math.inf, "quiet"))


def _arguments(parser):
    inputs_argument(parser, "*")
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
        "--live",
        action="store_true",
        help="repair sound while it goes on: - from standard input to standard output, or else from "
        "the microphone to the loudspeaker",
    )
    parser.add_argument(
        "--rate",
        type=int,
        metavar="HZ",
        help="of --live: standard input is raw 16-bit samples of this rate and no WAV; or the rate of "
        f"the microphone (default: {live.RATE})",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="of --live: a part of the microphone's name"
    )
    model_argument(parser)
    json_argument(parser)


def _repair(args) -> int:
    """Restore recordings and print what was wrong with each."""
    if args.live:
        return live.repair_live(args)
    if args.rate or args.device:
        raise ConfigError("--rate and --device are of --live alone: omit them")
    if not args.inputs:
        raise ConfigError("name a recording, or a folder of them")
    pairs, failed = _pairs(args)
    if not pairs:
        return 2
    from lin_jax.audio import files

    bundle = load_bundle(args.model or "repair", KIND)
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
                json.dumps(as_json(result) | {"speed": round(speed, 2)})
                if args.json
                else _line(result)
            )
            if result.cut > CUT:
                complain(f"{result.out}: {loss(result)}")
    if done and not args.json:
        print(f"{clock(seconds)} of sound, {speed:.3g} times as fast as it plays")
    return finish(done, failed)


@dataclasses.dataclass(frozen=True)
class RepairAnswer:
    """What `as_json` makes; before and after are the fields of a `Diagnosis`."""

    file: str
    out: str
    seconds: float
    format: str
    before: dict[str, float | None]
    after: dict[str, float | None]
    cut: float


def as_json(result: "RepairResult") -> dict:
    """What `--json` and the HTTP API print of a recording: its faults before and after, and what was written where."""
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


def findings(result: "RepairResult") -> list[str]:
    """What was wrong with a recording, and what became of it, in words."""
    before, after = result.before, result.after
    noise = [f"{level:.0f}" for level in (before.noise_db, after.noise_db) if level is not None]
    faults = {
        "silent, left as it is": before.silent,
        f"noise {' → '.join(noise)} dB": noise and not before.silent,
        f"clipped {before.clipped:.1%}": before.clipped > CLIPPED,
        f"nothing above {(before.band_hz or 0) / 1000:.1f} kHz": before.band_hz
        and before.band_hz < NARROW,
        f"offset {before.dc_offset:.3f} removed": before.dc_offset,
        f"{result.format.split()[0]} encoded anew, which loses a little": result.lossy,
    }
    return [words for words, holds in faults.items() if holds]


def loss(result: "RepairResult") -> str:
    """What was lost where more than `CUT` of the samples were cut."""
    return (
        f"{result.cut:.2%} of the samples are beyond full scale and were cut, as {result.format} must; "
        "turn the recording down first, or write floating point"
    )


def _line(result: "RepairResult") -> str:
    place = (
        printable(result.out)
        if result.out == result.source
        else f"{printable(result.source)} → {printable(result.out)}"
    )
    return f"{place}  {clock(result.seconds)}  {', '.join(findings(result))}".rstrip()


def _pairs(args) -> tuple[list[tuple[str, str]], int]:
    """Which recordings become which files, and how many inputs name none; ConfigError if that cannot be."""
    if bool(args.out) == args.in_place:
        raise ConfigError("name one place: --out FILE|DIR, or --in-place to replace the recordings")
    if args.in_place and "-" in args.inputs:
        raise ConfigError("-: standard input cannot be replaced; use --out FILE")
    if args.out:
        return output_paths.pairs(args.inputs, args.out)
    paths, failed = recordings(args.inputs)
    # A recording that is named twice is repaired once.
    return list({os.path.realpath(path): (path, path) for path in paths}.values()), failed


def restore(
    bundle, path: str, stem: str, strength: float = 1.0, suffix: str = ""
) -> "RepairResult":
    """Repair a recording of any length.

    Args:
        bundle: a `Repairer`.
        path: the recording.
        stem: where to, without the suffix.
        strength: how much of the repair is mixed in, 0 to 1.
        suffix: names the format, such as ".mp3"; "" leaves WAV and FLAC what they are, and makes
            WAV of all else.

    Returns:
        The `RepairResult`.

    Raises:
        AudioError, ConfigError: as for `Repairer.repair_file`.
    """
    from lin_jax.audio import files

    if not suffix:
        suffix = ".flac" if files.describe(path).format == "FLAC" else ".wav"
    return bundle.repair_file(path, stem + suffix, strength)


def _endpoint(router, model):
    from fastapi import Form, Query, UploadFile

    from lin_jax.apps import api

    @router.post(
        "/repair",
        name="repair",
        response_model=RepairAnswer | list[RepairAnswer | api.BadRecording],
        responses=api.RECORDINGS,
    )
    async def answer(
        file: list[UploadFile],
        uploads: api.Uploads,
        strength: Annotated[float, Form(examples=[0.5])] = 1.0,
        format: Annotated[api.Format | None, Form()] = None,
        only_metadata: Annotated[str | None, Query(alias="json")] = None,
    ):
        """Each recording without noise and damage; with ?json only what is wrong with it.

        WAV and FLAC stay what they are and all else becomes WAV, unless a format is named.
        """

        async def of_path(path):
            stem, suffix = uploads.path("_repaired"), f".{format}" if format else ""
            with serving.named({stem: "repaired"}):
                result = await model.run(restore, path, stem, strength, suffix, recordings=[path])
            name = uploads.names[path]
            out = f"{pathlib.Path(name).stem}_repaired{pathlib.Path(result.out).suffix}"
            metadata = as_json(dataclasses.replace(result, source=name, out=out))
            return api.Made(result.out, out, metadata)

        made = await api.answer_each(model, uploads, file, of_path)
        return api.send(uploads, made, only_metadata=only_metadata is not None)


def _tab(model, folder):
    import gradio as gr

    from lin_jax.apps import page, results

    hint = results.hint(
        "Noise, clipping, coarse samples? Drop a damaged recording, or record a sentence where it "
        "is loud, and listen to what becomes of it."
    )

    async def repair(path, strength):
        if not path:
            return hint, None
        stem = page.place(folder, f"{pathlib.Path(path).stem[:100]}_repaired")
        with serving.named(page.names(path, stem)):
            result = await model.run(restore, path, stem, strength, recordings=[path])
        pictures = [
            await page.spectrogram(path, "before"),
            await page.spectrogram(result.out, "after"),
        ]
        both = page.switch({"Before": path, "After": result.out})
        return "".join([as_html(result), both, *pictures]), result.out

    with gr.Row(equal_height=False):
        with page.inputs():
            before = page.recorder("Before")
            page.offer([before], {"a noisy recording": ("noisy.mp3",)})
            strength = gr.Slider(0, 1, 1, step=0.05, label="Strength of the repair")
        output = page.output("", hint)
    page.on([before.change, strength.release], repair, [before, strength], output)


def as_html(result: "RepairResult") -> str:
    """What was wrong with a recording."""
    from lin_jax.apps import results

    silent = result.before.silent
    faults = ", ".join(findings(result)) or "nothing was wrong that has a name"
    note = results.note(loss(result)) if result.cut > CUT else ""
    word = "Left as it is" if silent else noise_in_words(result)
    below = f"{result.seconds:.1f} s · {faults}"
    return results.answer(word, below, "unsure" if silent else "sure") + note


def noise_in_words(result: "RepairResult") -> str:
    """How noisy a recording was and is, and by how much less."""
    before, after = result.before.noise_db, result.after.noise_db
    if before is None or after is None:
        return "Repaired"
    words = [next(word for level, word in NOISE if db >= level) for db in (before, after)]
    less = round(before - after)
    change = f"{less} dB less noise" if less > 0 else "no less noise"
    return f"{' → '.join(dict.fromkeys(words))}, {change}"


JOB = Job(
    name="repair",
    title="Repair",
    kind=KIND,
    bundle="repair",
    endpoint=_endpoint,
    tab=_tab,
    requests="""\
curl -F file=@noisy.wav -o clean.wav localhost:7860/v1/repair          -F strength=0.5: half of it
curl -F file=@noisy.wav 'localhost:7860/v1/repair?json'                what is wrong with it, and no file""",
    warm_up=lambda bundle, seconds: bundle.repair(*example_speech(bundle, seconds)),
    commands=(
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
  lin repair --live                               microphone to loudspeaker, 20 ms late (pip install 'lin_jax[listen]')
  lin repair --live - < noisy.wav > clean.wav     WAV of 16-bit or 32-bit floating samples
  arecord -t raw -f S16_LE -r 16000 | lin repair --live - --rate 16000 | aplay -t raw -f S16_LE -r 16000

Sample rate, channels, length and loudness stay. So does the encoding, if the suffix of --out can hold it. MP3, Ogg and
Opus are encoded anew; name a .wav or .flac to lose nothing more.
--live takes a small network that hears nothing ahead, and repairs less; what lies above 8 kHz is lost.
A recording that cannot be used is named on stderr and the rest goes on.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
            add_arguments=_arguments,
            run=_repair,
        ),
    ),
)
