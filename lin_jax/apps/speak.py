"""Text-to-speech: `lin speak` and `lin voices`; and what it shares with `lin_jax.apps.convert`."""

import asyncio
import contextlib
import functools
import json
import os
import pathlib
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from lin_jax.apps import jobs, output_paths, serving, timestamps
from lin_jax.apps.common import (
    Command,
    check_voices,
    clock,
    json_argument,
    load_bundle,
    model_argument,
    printable,
    progress,
)
from lin_jax.apps.jobs import Job
from lin_jax.errors import AudioError, ConfigError, ConsentError, TextError, WorkCancelledError

if TYPE_CHECKING:  # JAX takes half a second, in which a missing file is named
    from lin_jax.bundles import Speech, Synthesizer

KIND = "synthesis"
# Speech is in memory until all of it is made: some minutes of it are enough.
MAX_TEXT = 5000  # characters that are served
LETTERS_A_SECOND = 15.0  # about
MAX_PROBLEMS = 4  # that are named of one answer: they must fit into a header
EXAMPLES = {  # of texts on the page
    "a sentence": ("The morning train was late, so we walked home along the river.",),
    "figures": ("At 10:05 the bill of $1.5 million was paid.",),
}
CONSENT = (
    "a voice is its owner's: state with consent=true that it is yours or that whoever it is agreed, "
    "or name a voice that ships or was saved"
)
_warning_lock = threading.Lock()


def common_arguments(parser, model="synthesis"):
    """Add the arguments of every command that uses a `Synthesizer`."""
    model_argument(parser, model)
    json_argument(parser)


def voice_arguments(parser, model="synthesis"):
    """Add the arguments of every command that makes speech."""
    parser.add_argument(
        "--voice",
        nargs="+",
        action="extend",
        metavar="FILE|DIR|NAME",
        help="recordings of who should speak, averaged if several, best of five seconds or more in all (the network is "
        "fitted to them for some seconds, once for all by `lin voice save`), or a name of `lin voices` "
        "(default: the first)",
    )
    parser.add_argument(
        "--repair-voice", action="store_true", help="restore these recordings before they are used"
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, metavar="0.5..2", help="the pitch stays (default: 1)"
    )
    common_arguments(parser, model)


def _speak_arguments(parser):
    parser.add_argument("text", nargs="*", metavar="TEXT", help="what to say")
    parser.add_argument(
        "--text-file", metavar="FILE", help="say what stands in a file; - is standard input"
    )
    parser.add_argument(
        "--timestamps", metavar="FILE", help="write when each word is said, as .srt, .vtt or .json"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="where to; the suffix names the format; - is standard output, as WAV, sentence by sentence",
    )
    voice_arguments(parser)


def _speak(args) -> int:
    """Say a text and write it to a file."""
    text = _text(args)
    check_voices(args.voice or ())
    if args.out == "-":
        return _stream(args, text)
    if os.path.isdir(args.out):
        raise ConfigError(f"{args.out}: a folder; name the file that is to be written")
    output_paths.make_folders([args.out], args.out)
    if args.timestamps:
        timestamps.check(args.timestamps)
        output_paths.make_folders([args.timestamps], args.timestamps)
    from lin_jax.text import sentences

    bundle = load_bundle(args.model, KIND)
    check_format(args.out, bundle)
    voice = choose_voice(bundle, args)
    with progress(len(sentences(text, bundle.longest)), "sentence") as bar:
        started = time.perf_counter()
        speech = bundle.speak(text, voice, args.speed, progress=bar.update)
        seconds = time.perf_counter() - started
    if args.timestamps:  # before the speech is written, which a bundle without times does not need
        timestamps.write(args.timestamps, speech)
    speech.write(args.out)
    if args.json:
        print(json.dumps(as_json(args.out, speech, seconds)))
    else:
        print(line(args.out, speech))
        print(pace(speech.seconds, seconds))
    return 0 if all(segment.stopped for segment in speech.segments) else 1


def _stream(args, text: str) -> int:
    """Say a text to standard output, each sentence as soon as it is made."""
    from lin_jax.audio import wav_stream

    if args.timestamps or args.json:
        raise ConfigError(
            "--out -: nothing but sound is written; leave out --timestamps and --json"
        )
    bundle = load_bundle(args.model, KIND)
    parts, stopped = bundle.stream(text, choose_voice(bundle, args), args.speed), True
    try:
        for number, part in enumerate(parts):
            if not number:
                comment = f"synthetic speech, {part.provenance}"
                sys.stdout.buffer.write(wav_stream.header(part.sample_rate, comment))
            sys.stdout.buffer.write(wav_stream.encode(part.samples))
            sys.stdout.buffer.flush()
            stopped = stopped and part.segments[0].stopped
    except BrokenPipeError:
        # Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise AudioError("standard output was closed before all was said") from None
    except OSError as error:
        raise AudioError(f"standard output cannot be written ({error.strerror})") from None
    return 0 if stopped else 1


def _voices(args) -> int:
    """Print the voices of a bundle."""
    bundle = load_bundle(args.model, KIND)
    width = max(map(len, bundle.names))
    for name, sex in zip(bundle.names, bundle.sexes, strict=True):
        print(
            json.dumps({"voice": name, "sex": sex})
            if args.json
            else f"{name:<{width}}  {sex}".rstrip()
        )
    return 0


def as_json(out: str, speech: "Speech", seconds: float) -> dict:
    """What `--json` prints of speech that was written: where, how, what is said when, and the seconds it took."""
    segments = []
    for segment in speech.segments:
        row = {"text": segment.text, "start": segment.start, "end": segment.end}
        row = {name: round(x, 3) if isinstance(x, float) else x for name, x in row.items()}
        row["stopped"] = segment.stopped
        if segment.problem:
            row["problem"] = segment.problem
        if segment.words:
            row["words"] = [[w, round(a, 3), round(b, 3)] for w, a, b in segment.words]
        segments.append(row)
    return {
        "out": out,
        "seconds": round(speech.seconds, 3),
        "provenance": speech.provenance,
        "segments": segments,
        "real_time_factor": round(seconds / max(speech.seconds, 1e-3), 4),
    }


def _text(args) -> str:
    """The text to say, wherever it stands."""
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


def check_format(out: str, bundle: "Synthesizer"):
    """Raises AudioError now, and not after the work, if no format goes by that suffix."""
    from lin_jax.audio import files

    files.encoding(out, files.Info(bundle.frontend.sample_rate, 1, 0, "WAV", "PCM_16"))


def choose_voice(bundle: "Synthesizer", args):
    """The voice of the arguments: a name, or the `VoiceProfile` of recordings; None for the first learnt one."""
    from lin_jax.audio import files

    if not args.voice:
        return None
    if len(args.voice) == 1 and args.voice[0] in bundle.names:
        return args.voice[0]
    sources: list = []
    for name in args.voice:
        sources += files.find(name) if os.path.isdir(name) and name not in bundle.names else [name]
    return clone_voice(bundle, sources, repair=args.repair_voice)


def clone_voice(bundle: "Synthesizer", sources, repair: bool = False):
    """What `Synthesizer.clone_voice` gives, with a bar while it fits the network to recordings."""
    with progress(bundle.fitting_steps, "step") as bar:
        bar.set_description("fitting to the voice")
        return bundle.clone_voice(sources, repair=repair, progress=bar.update)


def line(out: str, speech: "Speech") -> str:
    """What is printed of speech that was written."""
    return f"{printable(out)}  {clock(speech.seconds)}  {speech.provenance}"


def pace(seconds: float, elapsed: float) -> str:
    """What is printed of the speed of it all."""
    return f"{clock(seconds)} of speech, {seconds / elapsed:.3g} times as fast as it plays"


def speak(
    bundle, text: str, voices: Sequence = (), speed: float = 1.0
) -> "tuple[Speech, list[str]]":
    """Say a text.

    Args:
        bundle: a `Synthesizer`.
        text: at most `MAX_TEXT` characters.
        voices: names of voices, or one that `fitted_voices` gave; of none it is the first learnt
            one.
        speed: 0.5 to 2.

    Returns:
        The speech, and what went wrong within it, a line each.

    Raises:
        TextError, AudioError, ConfigError: as for `Synthesizer.speak`, or the text is too long.
    """
    _check_length(text)
    return with_problems(lambda voice: bundle.speak(text, voice, speed), voices)


def _check_length(text: str):
    if len(text) > MAX_TEXT:
        raise TextError(
            f"{len(text):,} characters are too long, {MAX_TEXT:,} are taken; use the command line"
        )


def with_problems(make: "Callable[..., Speech]", voices: Sequence) -> "tuple[Speech, list[str]]":
    """Speech as a function makes it in a voice, and the warnings of this thread meanwhile."""
    with _collecting() as problems:
        speech = make(_chosen(voices))
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS - 1 :] = [f"and {len(problems) - MAX_PROBLEMS + 1} more"]
    return speech, problems


def _chosen(voices: Sequence):
    """Voices as a `Synthesizer` takes them."""
    return voices[0] if len(voices) == 1 else list(voices) or None


@contextlib.contextmanager
def _collecting() -> Iterator[list[str]]:
    """The warnings of this thread meanwhile."""
    problems: list[str] = []
    thread = threading.get_ident()

    def show(message, category, *_, **__):
        if threading.get_ident() == thread and issubclass(category, UserWarning):
            problems.append(str(message))

    with _warning_lock, warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("always", UserWarning)
        yield problems


def begin(bundle, text: str, voices: Sequence = (), speed: float = 1.0) -> "Iterator[Speech]":
    """Begin to say a text sentence by sentence; all else as for `speak`."""
    _check_length(text)
    with _collecting():
        return bundle.stream(text, _chosen(voices), speed)


def go_on(_, parts: "Iterator[Speech]") -> "Speech | None":
    """The next sentence of what was begun; None after the last."""
    with _collecting():
        return next(parts, None)


def split_voices(bundle, voices, consent: bool) -> tuple[list, list[str]]:
    """Uploads among voices, and names of learnt and saved ones.

    Args:
        bundle: a `Synthesizer`.
        voices: uploads and names.
        consent: whether whoever asks states that the uploads may be used.

    Raises:
        AudioError: a name is none of these, such as the path of a file of this machine.
        ConsentError: there are uploads, and nobody has stated that they may be used.
    """
    names = [voice for voice in voices if isinstance(voice, str)]
    for name in names:
        serving.check_voice(name, bundle)
    uploads = [voice for voice in voices if not isinstance(voice, str)]
    if uploads and not consent:
        raise ConsentError(CONSENT)
    return uploads, names


async def fitted_voices(
    model, recordings: Sequence[str], names: Sequence[str], progress=lambda steps: None
) -> list:
    """Voices for `speak`: recordings are cloned, once for all that is spoken in them.

    Args:
        model: of a `Synthesizer`.
        recordings: paths.
        names: of voices, averaged with them.
        progress: as for `Synthesizer.clone_voice`.
    """
    if not recordings:
        return list(names)
    return [await model.run(_clone_voice, [*recordings, *names], progress)]


def _clone_voice(bundle, voices, progress):
    return bundle.clone_voice(voices, progress=progress)


def _endpoint(router, model):
    from fastapi import File, Form, UploadFile
    from fastapi.responses import FileResponse

    from lin_jax.apps import api, openai_speech

    async def say(uploads, text, voices, speed, format):
        speech, problems = await model.run(
            speak, text, voices, speed, seconds=len(text) / LETTERS_A_SECOND
        )
        return api.recording(write_speech(uploads, f"speech.{format}", speech, problems))

    @router.post("/speak", name="speak", response_class=FileResponse, responses=api.RECORDING)
    async def answer(
        text: Annotated[str, Form(examples=["Good morning."])],
        uploads: api.Uploads,
        voice: Annotated[Sequence[UploadFile | str], File()] = (),
        speed: Annotated[float, Form(examples=[1.2])] = 1.0,
        consent: Annotated[bool, Form()] = False,
        format: Annotated[api.Format, Form()] = "wav",
        stream: Annotated[bool, Form()] = False,
    ):
        """A text as speech; with stream=true sentence by sentence, as a WAV file of unknown length.

        The voice is a name or recordings, averaged if several, which take consent=true.
        """
        recordings, names = split_voices(model.bundle, voice, consent)
        recordings = await uploads.save(recordings)
        with serving.named(uploads.names):
            voices = await fitted_voices(model, recordings, names)
            if not stream:
                return await say(uploads, text, voices, speed, format)
            if format != "wav":
                raise ConfigError(f"format={format}: a stream is WAV; leave out one of the two")
            return await streamed(model, text, voices, speed)

    openai_speech.add_routes(router, model.bundle, say, functools.partial(streamed, model))


async def streamed(model, text: str, voices: Sequence, speed: float, rate: int | None = None):
    """The answer that is speech, each sentence as soon as it is made.

    Args:
        model: of a `Synthesizer`.
        text: as for `speak`.
        voices: likewise.
        speed: likewise.
        rate: of 16-bit samples without a header, in Hz; None makes a WAV file of unknown length.
    """
    from fastapi.responses import StreamingResponse

    from lin_jax.audio import files, wav_stream

    parts = await model.run(begin, text, voices, speed)
    first = await model.run(go_on, parts)  # what cannot be said is known before the answer begins

    async def encoded():
        part = first
        if rate is None:
            yield wav_stream.header(part.sample_rate, f"synthetic speech, {part.provenance}")
        while part:
            samples = files.resample(part.samples, part.sample_rate, rate or part.sample_rate)
            yield wav_stream.encode(samples)
            part = await model.run(go_on, parts)

    return StreamingResponse(encoded(), media_type="audio/wav" if rate is None else "audio/pcm")


def write_speech(uploads, name: str, speech: "Speech", problems: Sequence[str]):
    """Speech as a file, to be sent by that name, whose suffix names the format."""
    from lin_jax.apps import api

    path = uploads.path(pathlib.Path(name).suffix)
    with serving.named({path: name}):
        speech.write(path)
    metadata = {
        "out": name,
        "seconds": round(speech.seconds, 3),
        "provenance": speech.provenance,
        "problems": problems,
    }
    return api.Made(path, name, metadata)


def _tab(model, folder):
    import gradio as gr

    def source():
        return gr.Textbox(
            label="What to say", placeholder="Good morning.", lines=4, max_length=MAX_TEXT
        )

    async def make(text, voices, speed):
        seconds = len(text) / LETTERS_A_SECOND
        return "speech.wav", *await model.run(speak, text, voices, speed, seconds=seconds)

    synthesis_tab(
        model,
        folder,
        source,
        "Speak",
        "Type a sentence or two, choose a voice or give a recording of whoever should speak, and press the button.",
        make,
        EXAMPLES,
    )


def synthesis_tab(
    model,
    folder: str,
    source: Callable,
    button: str,
    instruction: str,
    make: Callable[..., Awaitable],
    examples: Mapping[str, Sequence[str]],
):
    """A tab in which speech is made of a source in a voice.

    Args:
        model: of a `Synthesizer`.
        folder: in which recordings are made.
        source: makes the part of the page where the source is given.
        button: what stands on the button.
        instruction: what to do, before anything is made.
        make: of the source, a list of one voice and the speed it makes the name of a file, the
            `Speech` and what went wrong within it.
        examples: of the source, as for `page.offer`.
    """
    import gradio as gr

    from lin_jax.apps import page, results
    from lin_jax.bundles.synthesizer import SPEEDS

    bundle, hint = model.bundle, results.hint(instruction)
    choices = [
        (f"{name} ({sex})" if sex else name, name) for name, sex, _ in serving.voices(bundle)
    ]

    async def show(given, name, reference, consent, speed):
        if given is None:
            return hint, None
        if reference and not consent:
            raise ConsentError("a voice is its owner's: tick the box if you may use this one")
        with serving.named(page.names(given, reference)):
            progress = page.progress("Fitting to the voice", bundle.fitting_steps)
            recordings = [reference] if reference else []
            voices = await fitted_voices(model, recordings, [] if recordings else [name], progress)
            file, speech, problems = await make(given, voices, speed)
        path = page.place(folder, file)
        with serving.named(page.names(path)):
            await asyncio.to_thread(speech.write, path)
        return as_html(speech, problems) + await page.spectrogram(path, ""), path

    with gr.Row(equal_height=False):
        with page.inputs():
            given = source()
            page.offer([given], examples)
            name = gr.Dropdown(choices, value=bundle.names[0], label="In which voice")
            reference = page.recorder("Or like this recording of five seconds or more")
            consent = gr.Checkbox(label="It is my voice, or whoever it is agreed", container=False)
            speed = gr.Slider(*SPEEDS, 1, step=0.05, label="Speed")
            pressed = gr.Button(button, variant="primary").click
            gr.HTML(
                results.note(
                    "Copy only voices you may copy. The file says in its metadata that it is "
                    "synthetic, and what made it."
                )
            )
        output = page.output("Synthetic speech", hint)
    page.on([pressed], show, [given, name, reference, consent, speed], output)


def _warm_up(bundle, seconds: float):
    bundle.speak("good morning " * round(seconds))
    # By the end of its first step the fitting is compiled.
    with contextlib.suppress(WorkCancelledError):
        bundle.clone_voice([str(jobs.EXAMPLES / "woman.mp3")], progress=_stop)


def _stop(_):
    raise WorkCancelledError("the first step was all that was wanted")


def as_html(speech: "Speech", problems: Sequence[str]) -> str:
    """What speech was made by, and what went wrong within it."""
    from lin_jax.apps import results

    kind = "unsure" if problems else "sure"
    answer = results.answer(
        f"{speech.seconds:.1f} s", f"synthetic speech, {speech.provenance}", kind
    )
    return answer + "".join(map(results.note, problems))


JOB = Job(
    name="speak",
    title="Speak",
    kind=KIND,
    bundle="synthesis",
    endpoint=_endpoint,
    tab=_tab,
    requests="curl -F text='Good morning.' -F voice=@anna.wav -F consent=true -o hello.wav localhost:7860/v1/speak",
    warm_up=_warm_up,
    max_seconds=600.0,  # speech is in memory until all of it is made
    serves=lambda bundle: "text" in bundle.sources,
    commands=(
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
  lin speak --text-file book.txt --out - | aplay                      each sentence as soon as it is made

Copy only voices you may copy (docs/responsible-use.md). Every file says in its metadata that it is synthetic and what
made it, and carries a watermark that lin detect finds.
What cannot be read, and a sentence that sounds wrong even when it is said again (cut, silent, too fast or too slow), is
named on stderr, and with --json as its "problem".
Exit code: 0 said, 1 said, but a sentence was cut, 2 not said.""",
            add_arguments=_speak_arguments,
            run=_speak,
        ),
        Command(
            name="voices",
            summary="list the voices that `lin speak` has learnt",
            teach="""\
examples:
  lin voices                                      names, and whether female or male
  lin voices --json | jq .voice

Exit code: 0 listed, 2 not.""",
            add_arguments=common_arguments,
            run=_voices,
        ),
    ),
)
