"""An HTTP API over the trained models, with a page in front of it: `lin serve`.

    POST /api/emotion   file=…          what `lin emotion --json` prints; so for every classifier, by its name
    POST /api/verify    a=… b=…         what `lin verify --json` prints; several a or b are one side
    GET  /              the page, made by `lin_jax.apps.page`

What cannot be answered is {"error": "one line"}: 422 for a recording that cannot be used or is missing, 413 for an
upload that is too large, 404 for what is not served. FastAPI, uvicorn and Gradio are the extra `serve`, imported where
they are used.
"""

import contextlib
import dataclasses
import logging
import os
import pathlib
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import lin_jax
from lin_jax.apps import classify, speakers
from lin_jax.apps.terminal import Command
from lin_jax.errors import BundleError, ConfigError, LinError

EXTRA = "the page needs FastAPI, uvicorn and Gradio: pip install 'lin_jax[serve]'"
JOBS = ("emotion", "gender", "speaker")  # the bundles that are served if they ship
LARGEST_MEGABYTES = 200  # of an upload; as a 16-bit WAV at 16 kHz it lasts more than an hour and a half


@dataclasses.dataclass(frozen=True)
class Model:
    """A `Classifier` or `Verifier` bundle that is served, and its model card as Markdown."""

    bundle: object
    card: str

    @property
    def job(self) -> str:
        """What it does: its endpoint, and its command on the command line."""
        return "verify" if self.bundle.task == "verification" else self.bundle.name


def load(names: Sequence[str]) -> list[Model]:
    """The models of bundles by name or folder; of several that do the same job the last one counts."""
    from lin_jax import bundles

    models = {}
    for name in names:
        model = Model(lin_jax.load(name), bundles.card(name))
        if model.bundle.task not in (bundles.Classifier.task, bundles.Verifier.task):
            raise BundleError(f"{name}: a {model.bundle.task} bundle, which the page cannot show; leave it out")
        models[model.job] = model
    return list(models.values())


def create_api(models: Sequence[Model]):
    """The FastAPI application that answers for these models, to be mounted at /api."""
    from fastapi import FastAPI, Request, UploadFile
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    # FastAPI's pages of documentation would load scripts from the Internet.
    api = FastAPI(title="lin_jax", version=lin_jax.__version__, docs_url=None, redoc_url=None)
    served = ", ".join(f"/api/{model.job}" for model in models)

    @api.middleware("http")
    async def limit(request: Request, call_next):
        if request.method == "POST":
            size = request.headers.get("content-length")
            if size is None:
                return JSONResponse({"error": "an upload of unknown size; send its Content-Length"}, 411)
            if int(size) > LARGEST_MEGABYTES * 1e6:
                problem = f"{int(size) / 1e6:.0f} MB are too large, {LARGEST_MEGABYTES} MB are taken"
                return JSONResponse({"error": f"{problem}; send FLAC or MP3, or use the command line"}, 413)
        return await call_next(request)

    @api.exception_handler(LinError)
    def refuse(request: Request, error: LinError):
        return JSONResponse({"error": str(error)}, 422)

    @api.exception_handler(RequestValidationError)
    def explain(request: Request, error: RequestValidationError):
        fields = dict.fromkeys(problem["loc"][1] for problem in error.errors())
        wanted = " ".join(f"{field}=@clip.wav" for field in fields)
        return JSONResponse({"error": f"no recording as {', '.join(fields)}; send form data with {wanted}"}, 422)

    @api.exception_handler(HTTPException)
    def decline(request: Request, error: HTTPException):
        problem = error.detail.lower().rstrip(".")
        return JSONResponse({"error": f"{request.url.path}: {problem}; POST to {served}"}, error.status_code)

    def add_classifier(bundle):
        @api.post(f"/{bundle.name}", name=bundle.name)
        def answer(file: UploadFile) -> dict:
            with _saved([file]) as names, named(names):
                ((path, name),) = names.items()
                return classify.answer(bundle.name, name, bundle.predict(path))

    def add_verifier(bundle):
        @api.post("/verify")
        def verify(a: list[UploadFile], b: list[UploadFile]) -> dict:
            with _saved([*a, *b]) as names:
                paths, shown = list(names), list(names.values())
                verdict = compare(bundle, paths[: len(a)], paths[len(a) :], names)
                return {"a": shown[: len(a)], "b": shown[len(a) :]} | speakers.plain(verdict)

    for model in models:
        (add_verifier if model.job == "verify" else add_classifier)(model.bundle)
    return api


def compare(bundle, a: Sequence[str], b: Sequence[str], names: Mapping[str, str]):
    """The `Verdict` on two sides of paths, which calls each by its name; AudioError likewise."""
    with named(names):
        verdict = bundle.verify(list(a), list(b))
    return dataclasses.replace(verdict, why=_renamed(verdict.why, names))


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


@contextlib.contextmanager
def _saved(uploads) -> Iterator[dict[str, str]]:
    """Uploads as files for as long as they are needed: path to the name that each came with."""
    with tempfile.TemporaryDirectory() as folder:
        names = {}
        for number, upload in enumerate(uploads):
            path = pathlib.Path(folder, f"{number}.upload")
            with path.open("wb") as file:
                shutil.copyfileobj(upload.file, file)
            names[str(path)] = os.path.basename(upload.filename.replace("\\", "/")) or "recording"
        yield names


def _arguments(parser):
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="BUNDLE",
        help="bundle folders of your own beside those that ship; one of the same job takes its place",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to answer on (default: %(default)s, this machine alone)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port to answer on (default: %(default)s)")


def _serve(args) -> int:
    """Answer until Ctrl-C."""
    from lin_jax import bundles

    with _listening(args.host, args.port) as connections, tempfile.TemporaryDirectory() as recordings:
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
        print(f"the page is at http://{host}:{port} and the API below /api; Ctrl-C ends it", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        # A page that is open in a browser keeps a connection: Ctrl-C does not wait for it, nor show how it is cut.
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

A job has a tab and an address if its bundle is there. What cannot be answered has a status of 4xx and
{{"error": "one line"}}; an upload may have {LARGEST_MEGABYTES} MB.
Nothing leaves the machine, and no recording is kept: the API deletes it with the answer, the page within minutes.
With --host 0.0.0.0 other machines can reach it; there is no password.
It needs the extra: pip install 'lin_jax[serve]'""",
        add_arguments=_arguments,
        run=_serve,
    ),
)
