"""Commands that speak in a voice that was learnt or heard: `lin speak`, `lin convert` and `lin voices`."""

import contextlib
import json
import os
import pathlib
import sys
import time

from lin_jax.apps import output_paths, timestamps
from lin_jax.apps.common import (
    Command,
    clock,
    complain,
    finish,
    load_bundle,
    progress,
    shown,
)
from lin_jax.bundles import Speech, Synthesizer
from lin_jax.errors import AudioError, ConfigError, TextError
from lin_jax.text import sentences


def _common_arguments(parser, model="synthesis"):
    parser.add_argument(
        "--model",
        metavar="BUNDLE",
        default=model,
        help="a bundle folder of your own instead of the one that ships",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line, for programs"
    )


def _voice_arguments(parser, model="synthesis"):
    parser.add_argument(
        "--voice",
        nargs="+",
        action="extend",
        metavar="FILE|DIR|NAME",
        help="recordings of who should speak, averaged if several, best of five seconds or more in all, or a name of "
        "`lin voices` (default: the first)",
    )
    parser.add_argument(
        "--repair-voice", action="store_true", help="restore these recordings before they are heard"
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, metavar="0.5..2", help="the pitch stays (default: 1)"
    )
    _common_arguments(parser, model)


def _speak_arguments(parser):
    parser.add_argument("text", nargs="*", metavar="TEXT", help="what to say")
    parser.add_argument(
        "--text-file", metavar="FILE", help="say what stands in a file; - is standard input"
    )
    parser.add_argument(
        "--timestamps", metavar="FILE", help="write when each word is said, as .srt, .vtt or .json"
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="where to; the suffix names the format"
    )
    _voice_arguments(parser)


def _convert_arguments(parser):
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE|DIR", help="a recording, or a folder with its subfolders"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE|DIR",
        help="where to; a folder takes any number of them",
    )
    _voice_arguments(parser, "conversion")


def _speak(args) -> int:
    """Say a text and write it to a file."""
    text = _text(args)
    if os.path.isdir(args.out):
        raise ConfigError(f"{args.out}: a folder; name the file that is to be written")
    output_paths.make_folders([args.out], args.out)
    if args.timestamps:
        timestamps.check(args.timestamps)
        output_paths.make_folders([args.timestamps], args.timestamps)
    bundle = load_bundle(args.model, Synthesizer.task)
    _check_format(args.out, bundle)
    with progress(len(sentences(text, bundle.longest)), "sentence") as bar:
        voice = _voice(bundle, args)
        started = time.perf_counter()
        speech = bundle.speak(text, voice, args.speed, progress=bar.update)
        took = time.perf_counter() - started
    speech.write(args.out)
    if args.timestamps:
        path = pathlib.Path(args.timestamps)
        path.write_text(timestamps.render(speech, path.suffix.lower()), encoding="utf-8")
    if args.json:
        print(json.dumps(answer(args.out, speech, took)))
    else:
        print(_line(args.out, speech))
        print(_pace(speech.seconds, took))
    return 0 if all(piece.stopped for piece in speech.segments) else 1


def _convert(args) -> int:
    """Say recordings again in another voice."""
    from lin_jax.audio import files

    pairs, failed = output_paths.pairs(args.inputs, args.out)
    if not pairs:
        return 2
    bundle = load_bundle(args.model, Synthesizer.task)
    total, done, seconds, took, whole = 0.0, 0, 0.0, 0.0, True
    for source, _ in pairs:
        with contextlib.suppress(AudioError):  # it is named when its turn comes
            total += files.duration(source)
    with progress(round(total), "s") as bar:
        voice = _voice(bundle, args)
        for source, out in pairs:
            started = time.perf_counter()
            try:
                _check_format(out, bundle)
                speech = bundle.convert_voice(source, voice, speed=args.speed, progress=bar.update)
                speech.write(out)
            except AudioError as error:
                complain(error)
                failed += 1
                continue
            lasted = time.perf_counter() - started
            whole = whole and all(piece.stopped for piece in speech.segments)
            done, seconds, took = done + 1, seconds + speech.seconds, took + lasted
            if args.json:
                bar.write(json.dumps({"file": source} | answer(out, speech, lasted)))
            else:
                bar.write(f"{shown(source)} → {_line(out, speech)}")
    if done and not args.json:
        print(_pace(seconds, took))
    return finish(done, failed) or int(not whole)


def _voices(args) -> int:
    """Print the voices of a bundle."""
    bundle = load_bundle(args.model, Synthesizer.task)
    width = max(map(len, bundle.names))
    for name, sex in zip(bundle.names, bundle.sexes, strict=True):
        print(
            json.dumps({"voice": name, "sex": sex})
            if args.json
            else f"{name:<{width}}  {sex}".rstrip()
        )
    return 0


def answer(out: str, speech: Speech, took: float) -> dict:
    """What `--json` says of speech that was written: where, how, what is said when, and how long it took."""
    segments = []
    for segment in speech.segments:
        row = {"text": segment.text, "start": segment.start, "end": segment.end}
        row = {name: round(x, 3) if isinstance(x, float) else x for name, x in row.items()}
        row["stopped"] = segment.stopped
        if segment.words:
            row["words"] = [[w, round(a, 3), round(b, 3)] for w, a, b in segment.words]
        segments.append(row)
    return {
        "out": out,
        "seconds": round(speech.seconds, 3),
        "provenance": speech.provenance,
        "segments": segments,
        "real_time_factor": round(took / max(speech.seconds, 1e-3), 4),
    }


def _text(args) -> str:
    """The text that is to be said, wherever it stands."""
    if bool(args.text) == bool(args.text_file):
        raise ConfigError(
            "give one text: lin speak TEXT --out FILE, or --text-file FILE in place of TEXT"
        )
    if args.text:
        return " ".join(args.text)
    try:
        data = (
            sys.stdin.buffer.read()
            if args.text_file == "-"
            else pathlib.Path(args.text_file).read_bytes()
        )
        return data.decode("utf-8-sig")
    except OSError as error:
        raise TextError(
            f"{args.text_file}: cannot be read ({error.strerror}); check the path"
        ) from None
    except UnicodeDecodeError:
        raise TextError(f"{args.text_file}: not a text in UTF-8; save it as one") from None


def _check_format(out: str, bundle: Synthesizer):
    """Raises AudioError now, and not after the work, if no format goes by that suffix."""
    from lin_jax.audio import files

    files.encoding(out, files.Info(bundle.frontend.sample_rate, 1, 0, "WAV", "PCM_16"))


def _voice(bundle: Synthesizer, args):
    """The voice that was asked for: a name, or what is heard in recordings; None if none was."""
    from lin_jax.audio import files

    if not args.voice:
        return None
    if len(args.voice) == 1 and args.voice[0] in bundle.names:
        return args.voice[0]
    sources = []
    for name in args.voice:
        sources += files.find(name) if os.path.isdir(name) and name not in bundle.names else [name]
    return bundle.clone_voice(sources, repair=args.repair_voice)


def _line(out: str, speech: Speech) -> str:
    return f"{shown(out)}  {clock(speech.seconds)}  {speech.provenance}"


def _pace(seconds: float, took: float) -> str:
    return f"{clock(seconds)} of speech, {seconds / took:.3g} times as fast as it plays"


COMMANDS = (
    Command(
        name="speak",
        summary="say a text in a learnt voice or that of a recording",
        teach="""\
examples:
  lin speak "Good morning." --out hello.wav                       the first voice that `lin voices` lists
  lin speak "Good morning." --voice anna.wav --out hello.wav      in the voice of a recording; several are averaged
  lin speak --text-file book.txt --voice anna/ --out book.flac    a text of any length, sentence by sentence
  lin speak "Good morning." --timestamps words.srt --out hello.wav    when each word is said; .vtt and .json as well
  echo "Good morning." | lin speak --text-file - --speed 0.8 --out hello.ogg
  lin speak "Good morning." --voice old_tape.mp3 --repair-voice --out hello.wav

Copy only voices you may copy (docs/responsible-use.md). Every file says in its metadata that it is synthetic and what
made it, and carries a watermark that lin detect finds.
What cannot be read, and a sentence that did not come to an end and was cut, is named on stderr.
Exit code: 0 said, 1 said, but a sentence was cut, 2 not said.""",
        add_arguments=_speak_arguments,
        run=_speak,
    ),
    Command(
        name="convert",
        summary="say recordings again in another voice",
        teach="""\
examples:
  lin convert me.wav --voice anna.wav --out anna_says_it.wav      the words and pauses stay, the voice is another
  lin convert talks/ --voice NAME --out talks_by_name/            every recording of a folder, under its name
  lin convert --json me.wav --out b.wav | jq .real_time_factor

Copy only voices you may copy (docs/responsible-use.md). Every file says in its metadata that it is synthetic and what
made it, and carries a watermark that lin detect finds.
A recording that cannot be used, and a phrase that did not come to an end and was cut, is named on stderr and the rest
goes on. Exit code: 0 all done, 1 some could not be used or were cut, 2 none could be used.""",
        add_arguments=_convert_arguments,
        run=_convert,
    ),
    Command(
        name="revoice",
        summary="the former name of `lin convert`, for a release",
        teach="""\
examples:
  lin revoice me.wav --voice anna.wav --out anna_says_it.wav      as lin convert does

Exit code: as of lin convert.""",
        add_arguments=_convert_arguments,
        run=_convert,
    ),
    Command(
        name="voices",
        summary="list the voices that `lin speak` has learnt",
        teach="""\
examples:
  lin voices                                      names, and whether female or male
  lin voices --json | jq .voice

Exit code: 0 listed, 2 not.""",
        add_arguments=_common_arguments,
        run=_voices,
    ),
)
