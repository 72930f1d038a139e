"""Voice conversion: `lin convert`."""

import contextlib
import json
import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from lin_jax.apps import output_paths, serving, speak
from lin_jax.apps.common import (
    Command,
    check_voices,
    complain,
    finish,
    inputs_argument,
    load_bundle,
    printable,
    progress,
)
from lin_jax.apps.jobs import Job, example_speech
from lin_jax.errors import AudioError, ConfigError

if TYPE_CHECKING:  # JAX takes half a second, in which a missing file is named
    from lin_jax.bundles import Speech

MODEL = "synthesis"


def _arguments(parser):
    inputs_argument(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE|DIR",
        help="where to; a folder takes any number of them",
    )
    parser.add_argument(
        "--text",
        default="",
        metavar="TEXT",
        help="what the recording says: with it nine words of ten are kept, without it eight",
    )
    parser.add_argument(
        "--transcribe",
        action="store_true",
        help="let a recogniser write down what each recording says, in place of --text (pip install "
        "faster-whisper, or moonshine-voice==0.0.49 for English)",
    )
    speak.voice_arguments(parser, MODEL)


def _convert(args) -> int:
    """Say recordings again in another voice."""
    pairs, failed = output_paths.pairs(args.inputs, args.out)
    if not pairs:
        return 2
    check_voices(args.voice or ())
    _check_text(args.text, len(pairs) + failed, args.transcribe)
    from lin_jax.audio import files

    bundle = load_bundle(args.model, speak.KIND)
    total, done, seconds, elapsed, whole = 0.0, 0, 0.0, 0.0, True
    for source, _ in pairs:
        with contextlib.suppress(AudioError):  # it is named when its turn comes
            total += files.duration(source)
    voice = speak.choose_voice(bundle, args)
    with progress(round(total), "s") as bar:
        for source, out in pairs:
            started = time.perf_counter()
            try:
                speak.check_format(out, bundle)
                text = _transcribed(source) if args.transcribe else args.text
                speech = bundle.convert_voice(
                    source, voice, speed=args.speed, progress=bar.update, text=text
                )
                speech.write(out)
            except AudioError as error:
                complain(error)
                failed += 1
                continue
            lasted = time.perf_counter() - started
            whole = whole and all(segment.stopped for segment in speech.segments)
            done, seconds, elapsed = done + 1, seconds + speech.seconds, elapsed + lasted
            if args.json:
                bar.write(json.dumps({"file": source} | speak.as_json(out, speech, lasted)))
            else:
                bar.write(f"{printable(source)} → {speak.line(out, speech)}")
    if done and not args.json:
        print(speak.pace(seconds, elapsed))
    return finish(done, failed) or int(not whole)


def _check_text(text: str, count: int, transcribe: bool):
    if text and transcribe:
        raise ConfigError("text: it is written down by the recogniser; give one of the two")
    if text and count > 1:
        raise ConfigError("text: what one recording says; give one recording")


def _transcribed(path: str) -> str:
    """What a recogniser understands in a recording; AudioError if nothing."""
    from lin_jax import recognisers
    from lin_jax.audio import files

    samples, _ = files.read(path, recognisers.RATE)
    if not (text := recognisers.transcribe(samples).strip()):
        raise AudioError(f"{path}: the recogniser understands no word of it; leave it out")
    return text


def convert_voice(
    bundle,
    path: str,
    voices: Sequence = (),
    speed: float = 1.0,
    text: str = "",
    transcribe: bool = False,
) -> "tuple[Speech, list[str]]":
    """Say again what is said in a recording; all else as for `speak.speak`."""
    text = _transcribed(path) if transcribe else text
    return speak.with_problems(
        lambda voice: bundle.convert_voice(path, voice, speed=speed, text=text), voices
    )


def _endpoint(router, model):
    from fastapi import File, Form, UploadFile
    from fastapi.responses import FileResponse

    from lin_jax.apps import api

    @router.post("/convert", name="convert", response_class=FileResponse, responses=api.RECORDINGS)
    async def answer(
        file: list[UploadFile],
        uploads: api.Uploads,
        voice: Annotated[Sequence[UploadFile | str], File()] = (),
        speed: Annotated[float, Form(examples=[1.2])] = 1.0,
        text: Annotated[str, Form(examples=["Good morning."])] = "",
        transcribe: Annotated[bool, Form()] = False,
        consent: Annotated[bool, Form()] = False,
        format: Annotated[api.Format, Form()] = "wav",
    ):
        """What is said in each recording, said again in another voice.

        The voice is a name or recordings, which take consent=true. More words are kept of a
        recording whose text is given, or written down by a recogniser, which the server must have.
        """
        _check_text(text, len(file), transcribe)
        recordings, names = speak.split_voices(model.bundle, voice, consent)
        recordings = await uploads.save(recordings)
        with serving.named(uploads.names):
            voices = await speak.fitted_voices(model, recordings, names)

        async def of_path(path):
            speech, problems = await model.run(
                convert_voice, path, voices, speed, text, transcribe, recordings=[path]
            )
            stem = f"{pathlib.Path(uploads.names[path]).stem}_converted"
            return speak.write_speech(uploads, f"{stem}.{format}", speech, problems)

        return api.send(uploads, await api.answer_each(model, uploads, file, of_path))


def _tab(model, folder):
    from lin_jax.apps import page

    async def make(path, voices, speed):
        speech, problems = await model.run(convert_voice, path, voices, speed, recordings=[path])
        return f"{pathlib.Path(path).stem[:100]}_converted.wav", speech, problems

    speak.synthesis_tab(
        model,
        folder,
        lambda: page.recorder("What to say again"),
        "Say it again",
        "Give a recording, choose a voice or give a recording of whoever should speak, and press the button.",
        make,
        page.A_VOICE,
    )


JOB = Job(
    name="convert",
    title="Convert",
    kind=speak.KIND,
    bundle=MODEL,
    endpoint=_endpoint,
    tab=_tab,
    requests="curl -F file=@me.wav -F voice=NAME -F speed=0.8 -o b.wav localhost:7860/v1/convert",
    warm_up=lambda bundle, seconds: bundle.convert_voice(
        example_speech(bundle, seconds)[0], sample_rate=bundle.frontend.sample_rate
    ),
    max_seconds=600.0,  # speech is in memory until all of it is made
    serves=lambda bundle: "speech" in bundle.sources,
    commands=(
        Command(
            name="convert",
            summary="say recordings again in another voice",
            teach="""\
examples:
  lin convert me.wav --voice anna.wav --out anna_says_it.wav      the words and pauses stay, the voice is another
  lin convert talks/ --voice NAME --out talks_by_name/            every recording of a folder, under its name
  lin convert me.wav --text "Good morning." --voice anna.wav --out b.wav    what it says is known: more words are kept
  lin convert talks/ --transcribe --voice NAME --out talks_by_name/    the same for all, written down by a recogniser
  lin convert --json me.wav --out b.wav | jq .real_time_factor

Copy only voices you may copy (docs/responsible-use.md). Every file says in its metadata that it is synthetic and what
made it, and carries a watermark that lin detect finds.
A recording that cannot be used, and a phrase that did not come to an end and was cut, is named on stderr and the rest
goes on. Exit code: 0 all done, 1 some could not be used or were cut, 2 none could be used.""",
            add_arguments=_arguments,
            run=_convert,
        ),
        Command(
            name="revoice",
            summary="the former name of `lin convert`, for a release",
            teach="""\
examples:
  lin revoice me.wav --voice anna.wav --out anna_says_it.wav      as lin convert does

Exit code: as of lin convert.""",
            add_arguments=_arguments,
            run=_convert,
        ),
    ),
)
