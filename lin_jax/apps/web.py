"""An HTTP API over the trained models, with a page in front of it: `lin serve`.

    POST /api/emotion   file=…          what `lin emotion --json` prints; so for every classifier, by its name
    POST /api/verify    a=… b=…         what `lin verify --json` prints; several a or b are one side
    POST /api/repair    file=…          the recording restored, or with ?json what `lin repair --json` prints; strength=
    POST /api/speak     text=…          synthetic speech as WAV; voice= is a name or recordings, speed= 0.5 to 2
    POST /api/convert   file=…          the same of what is said in a recording
    GET  /              the page, made by `lin_jax.apps.page`

A file comes with what there is to say of it as JSON in the header `Lin-Metadata`. What cannot be
answered is {"error": "one line"}: 422 for a recording that cannot be used or is missing, 413 for an
upload that is too large, 404 for what is not served. FastAPI, uvicorn and Gradio are the extra
`serve`, imported where they are used.
"""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import shutil
import socket
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import lin_jax
from lin_jax.apps import classify, repair
from lin_jax.apps import verify as verification
from lin_jax.apps.common import Command, clock
from lin_jax.bundles import RepairResult, Speech
from lin_jax.errors import AudioError, ConfigError, LinError, TextError

EXTRA = "the page needs FastAPI, uvicorn and Gradio: pip install 'lin_jax[serve]'"
JOBS = (
    "emotion",
    "gender",
    "speaker",
    "repair",
    "synthesis",
    "conversion",
)  # the bundles that are served if they ship
LARGEST_MEGABYTES = (
    200  # of an upload; as a 16-bit WAV at 16 kHz it lasts more than an hour and a half
)
# Speech is in memory until all of it is said: what is said in some minutes is enough.
MAX_TEXT, MAX_SECONDS = (
    5000,
    600.0,
)  # characters, and length of a recording that is said again
MAX_PROBLEMS = 4  # that are named of one answer: they must fit into a header
FIELDS = {  # of a form that are no recordings: what each is, and one that will do
    "text": ("text", "Good morning."),
    "strength": ("number", "0.5"),
    "speed": ("number", "1.2"),
}


@dataclasses.dataclass(frozen=True)
class Model:
    """A bundle that is served, its model card as Markdown, and whose turn it is to make a recording with it."""

    bundle: object
    card: str
    turn: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    @property
    def jobs(self) -> tuple[str, ...]:
        """What it does: its endpoints, and its commands on the command line."""
        match self.bundle.task:
            case "verification":
                return ("verify",)
            case "repair":
                return ("repair",)
            case "synthesis":
                commands = {"text": "speak", "speech": "convert"}
                return tuple(
                    job for source, job in commands.items() if source in self.bundle.sources
                )
        return (self.bundle.name,)


def load(names: Sequence[str]) -> list[Model]:
    """The models of bundles by name or folder; of several that do the same job the last one counts."""
    from lin_jax import bundles

    models: list[Model] = []
    for name in names:
        bundle = lin_jax.load(name)
        if bundle.task == bundles.Vocoder.task:
            raise ConfigError(
                f"{name}: a vocoder, which has no job of its own; serve a synthesis bundle that uses it"
            )
        model = Model(bundle, bundles.read_card(name))
        models = [other for other in models if not set(other.jobs) <= set(model.jobs)] + [model]
    return models


def create_api(models: Sequence[Model]):
    """The FastAPI application that answers for these models, to be mounted at /api."""
    from fastapi import Depends, FastAPI, File, Form, Request, UploadFile
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import FileResponse, JSONResponse
    from starlette.exceptions import HTTPException

    # FastAPI's pages of documentation would load scripts from the Internet.
    api = FastAPI(title="lin_jax", version=lin_jax.__version__, docs_url=None, redoc_url=None)
    served = ", ".join(addresses(models))

    def folder():
        with tempfile.TemporaryDirectory() as name:  # until the answer is sent
            yield name

    Folder = Annotated[str, Depends(folder)]
    Number = Annotated[float, Form()]
    Voices = Annotated[list[UploadFile | str], File()]

    @api.middleware("http")
    async def limit(request: Request, call_next):
        if request.method == "POST":
            size = request.headers.get("content-length")
            if size is None:
                return JSONResponse(
                    {"error": "an upload of unknown size; send its Content-Length"}, 411
                )
            if int(size) > LARGEST_MEGABYTES * 1e6:
                problem = (
                    f"{int(size) / 1e6:.0f} MB are too large, {LARGEST_MEGABYTES} MB are taken"
                )
                return JSONResponse(
                    {"error": f"{problem}; send FLAC or MP3, or use the command line"}, 413
                )
        return await call_next(request)

    @api.exception_handler(LinError)
    def refuse(request: Request, error: LinError):
        return JSONResponse({"error": str(error)}, 422)

    @api.exception_handler(RequestValidationError)
    def explain(request: Request, error: RequestValidationError):
        fields = dict.fromkeys(problem["loc"][1] for problem in error.errors())
        described = {field: FIELDS.get(field, ("recording", "@clip.wav")) for field in fields}
        missing = ", ".join(f"no {kind} as {field}" for field, (kind, _) in described.items())
        wanted = " ".join(f"{field}={example}" for field, (_, example) in described.items())
        return JSONResponse({"error": f"{missing}; send form data with {wanted}"}, 422)

    @api.exception_handler(HTTPException)
    def decline(request: Request, error: HTTPException):
        problem = error.detail.lower().rstrip(".")
        return JSONResponse(
            {"error": f"{request.url.path}: {problem}; POST to {served}"}, error.status_code
        )

    def add_classifier(model):
        bundle = model.bundle

        @api.post(f"/{bundle.name}", name=bundle.name)
        def answer(file: UploadFile, folder: Folder) -> dict:
            names = _save([file], folder)
            ((path, name),) = names.items()
            with named(names):
                return classify.answer(bundle.name, name, bundle.predict(path))

    def add_verifier(model):
        @api.post("/verify")
        def verify(a: list[UploadFile], b: list[UploadFile], folder: Folder) -> dict:
            names = _save([*a, *b], folder)
            paths, shown = list(names), list(names.values())
            verdict = compare(model.bundle, paths[: len(a)], paths[len(a) :], names)
            return {"a": shown[: len(a)], "b": shown[len(a) :]} | verification.plain(verdict)

    def add_repairer(model):
        @api.post("/repair")
        def mend(request: Request, file: UploadFile, folder: Folder, strength: Number = 1.0):
            names = _save([file], folder)
            ((path, name),) = names.items()
            stem = os.path.join(folder, "repaired")
            with named(names | {stem: "repaired"}):
                result = restore(model, path, stem, strength)
            suffix = pathlib.Path(result.out).suffix
            out = f"{pathlib.Path(name).stem}_repaired{suffix}"
            said = repair.answer(dataclasses.replace(result, source=name, out=out))
            return said if "json" in request.query_params else recording(result.out, out, said)

    def add_talker(model):
        if "speak" in model.jobs:

            @api.post("/speak")
            def say(
                text: Annotated[str, Form()],
                folder: Folder,
                voice: Voices = (),
                speed: Number = 1.0,
            ):
                uploads, learnt = _told_apart(model, voice)
                names = _save(uploads, folder)
                with named(names):
                    return spoken(
                        folder, "speech.wav", *speak(model, text, [*names, *learnt], speed)
                    )

        if "convert" in model.jobs:

            @api.post("/convert")
            def say_again(
                file: UploadFile, folder: Folder, voice: Voices = (), speed: Number = 1.0
            ):
                uploads, learnt = _told_apart(model, voice)
                names = _save([file, *uploads], folder)
                path, *heard = names
                out = f"{pathlib.Path(names[path]).stem}_converted.wav"
                with named(names):
                    return spoken(
                        folder, out, *convert_voice(model, path, [*heard, *learnt], speed)
                    )

    def spoken(folder, name, speech, problems):
        path = os.path.join(folder, "speech.wav")
        with named({path: name}):
            speech.write(path)
        said = {
            "out": name,
            "seconds": round(speech.seconds, 3),
            "provenance": speech.provenance,
            "problems": problems,
        }
        return recording(path, name, said)

    def recording(path, name, said):
        kind = pathlib.Path(path).suffix[1:]
        return FileResponse(
            path,
            filename=name,
            media_type=f"audio/{kind}",
            headers={"Lin-Metadata": json.dumps(said)},
        )

    kinds = {"verification": add_verifier, "repair": add_repairer, "synthesis": add_talker}
    for model in models:
        kinds.get(model.bundle.task, add_classifier)(model)
    return api


def addresses(models: Sequence[Model]) -> list[str]:
    """Where other programs ask these models."""
    return [f"/api/{job}" for model in models for job in model.jobs]


def compare(bundle, a: Sequence[str], b: Sequence[str], names: Mapping[str, str]):
    """The `Verdict` on two sides of paths, which calls each by its name; AudioError likewise."""
    with named(names):
        verdict = bundle.verify(list(a), list(b))
    return dataclasses.replace(verdict, reason=_renamed(verdict.reason, names))


def restore(model: Model, path: str, stem: str, strength: float = 1.0) -> RepairResult:
    """Repair a recording of any length; it stays WAV or FLAC as it is, and what is neither becomes WAV.

    Args:
        model: a `Repairer`.
        path: the recording.
        stem: where to, without the suffix.
        strength: how much of the repair is mixed in, 0 to 1.

    Returns:
        What was `Repaired`; errors as for `Repairer.repair_file`.
    """
    from lin_jax.audio import files

    suffix = ".flac" if files.describe(path).format == "FLAC" else ".wav"
    with model.turn:
        return model.bundle.repair_file(path, stem + suffix, strength)


def speak(
    model: Model, text: str, voices: Sequence[str] = (), speed: float = 1.0
) -> tuple[Speech, list[str]]:
    """Say a text.

    Args:
        model: a `Synthesizer`.
        text: at most `MAX_TEXT` characters.
        voices: names of learnt voices, or paths of recordings of who should speak, averaged; of
            none it is the first learnt one.
        speed: 0.5 to 2.

    Returns:
        The speech, and what went wrong within it, a line each; errors as for `Synthesizer.speak`.
    """
    if len(text) > MAX_TEXT:
        raise TextError(
            f"{len(text):,} characters are too long, {MAX_TEXT:,} are taken; use the command line"
        )
    return _said(model, voices, lambda voice: model.bundle.speak(text, voice, speed))


def convert_voice(
    model: Model, path: str, voices: Sequence[str] = (), speed: float = 1.0
) -> tuple[Speech, list[str]]:
    """Say again what is said in a recording of at most `MAX_SECONDS`; all else as for `speak`."""
    from lin_jax.audio import files

    seconds = files.duration(path)
    if seconds > MAX_SECONDS:
        most = clock(MAX_SECONDS)
        raise AudioError(
            f"{path}: {clock(seconds)} are too long, {most} are taken; use the command line"
        )
    return _said(model, voices, lambda voice: model.bundle.convert_voice(path, voice, speed=speed))


def _said(model, voices, make: Callable[[object], Speech]) -> tuple[Speech, list[str]]:
    # Warnings are heard by all threads: only one may listen.
    with model.turn, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        speech = make(voices[0] if len(voices) == 1 else list(voices) or None)
    problems = [
        str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)
    ]
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS - 1 :] = [f"and {len(problems) - MAX_PROBLEMS + 1} more"]
    return speech, problems


def _told_apart(model, voices) -> tuple[list, list[str]]:
    """Uploads among voices, and names of learnt ones: nobody is to read a file of this machine by its path."""
    learnt = [voice for voice in voices if isinstance(voice, str)]
    for name in learnt:
        if name not in model.bundle.names:
            raise AudioError(
                f"{name}: no voice of this model; send a recording with voice=@clip.wav, or one of these names: "
                f"{', '.join(model.bundle.names)}"
            )
    return [voice for voice in voices if not isinstance(voice, str)], learnt


@contextlib.contextmanager
def named(names: Mapping[str, str]):
    """Let errors inside call each path by the name its sender knows."""
    try:
        yield
    except LinError as error:
        raise type(error)(_renamed(str(error), names)) from None


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for path, name in names.items():
        text = text.replace(path, name)
    return text


def _save(uploads, folder: str) -> dict[str, str]:
    """Uploads as files in a folder: path to the name that each came with."""
    names = {}
    for number, upload in enumerate(uploads):
        path = pathlib.Path(folder, f"{number}.upload")
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        names[str(path)] = os.path.basename(upload.filename.replace("\\", "/")) or "recording"
    return names


def _arguments(parser):
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="BUNDLE",
        help="bundle folders of your own beside those that ship; one of the same job takes its place",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to answer on (default: %(default)s, this machine alone)",
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="port to answer on (default: %(default)s)"
    )


def _serve(args) -> int:
    """Answer until Ctrl-C."""
    from lin_jax import bundles

    with (
        _listening(args.host, args.port) as connections,
        tempfile.TemporaryDirectory() as recordings,
    ):
        models = load([*(name for name in JOBS if name in bundles.shipped()), *args.model])
        try:
            import uvicorn
            from fastapi import FastAPI

            from lin_jax.apps import page
        except ImportError:
            raise ConfigError(EXTRA) from None
        app = FastAPI(openapi_url=None)
        app.mount("/api", create_api(models))
        page.mount(app, models, recordings)
        host, port = connections.getsockname()[:2]
        print(
            f"the page is at http://{host}:{port} and the API below /api; Ctrl-C ends it",
            flush=True,
        )
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        # A page that is open in a browser keeps a connection: Ctrl-C does not wait for it, nor show
        # how it is cut.
        logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
        server.run(sockets=[connections])
    return 0


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port}: ports go from 0 to 65535; choose another --port")
    try:
        return socket.create_server((host, port))
    except OSError as error:
        reason = error.strerror.partition(" (")[0]
        raise ConfigError(f"{host}:{port}: {reason}; choose another --host or --port") from None


COMMANDS = (
    Command(
        name="serve",
        summary="show a page in the browser, and answer other programs over HTTP",
        teach=f"""\
examples:
  lin serve                                             the page: record or drop a file, see the answer
  lin serve --port 8000 --model runs/mine/ship/gender   with a network of your own
  curl -F file=@clip.wav localhost:7860/api/emotion     the same JSON as lin emotion --json
  curl -F file=@clip.wav localhost:7860/api/gender      the same JSON as lin gender --json
  curl -F a=@a.wav -F b=@b.wav localhost:7860/api/verify
  curl -F file=@noisy.wav -o clean.wav localhost:7860/api/repair         -F strength=0.5: half of it
  curl -F file=@noisy.wav 'localhost:7860/api/repair?json'               what is wrong with it, and no file
  curl -F text='Good morning.' -F voice=@anna.wav -o hello.wav localhost:7860/api/speak
  curl -F file=@me.wav -F voice=NAME -F speed=0.8 -o b.wav localhost:7860/api/convert

A job has a tab and an address if its bundle is there. What cannot be answered has a status of 4xx and
{{"error": "one line"}}, which curl --fail-with-body tells from a file; an upload may have {LARGEST_MEGABYTES} MB.
Repaired recordings stay WAV or FLAC, all others become WAV, as speech is; the header Lin-Metadata says more, in JSON.
Speech: voice is a name or recordings, averaged if several. Copy only voices you may copy: the file says in its
metadata that it is synthetic. A text may have {MAX_TEXT} characters; to be said again, a recording may last
{MAX_SECONDS / 60:.0f} minutes.
Nothing leaves the machine, and no recording is kept: the API deletes it with the answer, the page within minutes.
With --host 0.0.0.0 other machines can reach it; there is no password.
It needs the extra: pip install 'lin_jax[serve]'""",
        add_arguments=_arguments,
        run=_serve,
    ),
)
