"""The HTTP API over the models that are served.

    POST /v1/JOB            file=… and the like: what the job's command prints with --json, or a file
    GET  /v1/health         whether it answers, and which jobs
    GET  /v1/models         the bundles
    GET  /v1/voices         the voices that speech can have by name
    GET  /v1/metrics        counts and times, as Prometheus reads them
    GET  /v1/docs           this API as a page, and /v1/openapi.json for programs

Of several recordings in one request each is answered, and one that cannot be used is named. A file
comes with what there is to say of it as JSON in the header `Lin-Metadata`; several come as a ZIP
archive. What cannot be answered is {"error": "one line"}: 400 for a voice that nobody may use, 422
for a recording that cannot be used or is missing, 413 for an upload that is too large, 404 for what
is not served, 503 while too much is waiting, 504 for what took too long; `lin_jax.apps.guard` and
`lin_jax.apps.access` stand before it. /api is another name of /v1.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import tempfile
import typing
import zipfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import lin_jax
from lin_jax.apps import api_page, monitoring, serving
from lin_jax.apps.jobs import Job
from lin_jax.apps.workers import BusyError, WorkEndedError
from lin_jax.audio import files
from lin_jax.errors import AudioError, ConsentError, LinError

ADDRESSES = ("/v1", "/api")  # of the same API; the second is the former one
Format = Literal["wav", "flac", "mp3", "opus"]
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "opus": "audio/ogg"}
ARCHIVE = "application/zip"


OPENAI = "/audio/"  # what is below it is part of OpenAI's API


class Problem(BaseModel):
    """What is answered in place of a result."""

    error: str


class BadRecording(BaseModel):
    """A recording of several that could not be used."""

    file: str
    error: str


class Health(BaseModel):
    """That the server answers, its version, and the jobs that it does."""

    status: Literal["ok"]
    version: str
    jobs: list[str]


class ServedModel(BaseModel):
    """A bundle, as OpenAI lists models, and the jobs that it does."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["lin_jax"] = "lin_jax"
    jobs: list[str]


class Models(BaseModel):
    """The bundles that are served."""

    object: Literal["list"] = "list"
    data: list[ServedModel]


class Voice(BaseModel):
    """A voice that speech can have by its name; its sex is "" where nobody knows it."""

    name: str
    sex: str
    saved: bool
    jobs: list[str]


# For the description of the API: what any route may answer, and what those that make a recording do.
PROBLEMS: dict = {
    status: {"model": Problem} for status in (400, 401, 403, 408, 413, 421, 422, 429, 503, 504)
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
RECORDING: dict = {200: {"content": dict.fromkeys(MEDIA_TYPES.values(), BINARY)}}
RECORDINGS: dict = {200: {"content": RECORDING[200]["content"] | {ARCHIVE: BINARY}}}
TEXT: dict = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


class Folder:
    """Where the recordings of a request are until it is answered.

    Attributes:
        names: of the uploads in it, by their paths.
    """

    def __init__(self, folder: str):
        self._folder, self._numbers = folder, itertools.count()
        self.names: dict[str, str] = {}

    def path(self, suffix: str) -> str:
        """The path of another file in it, with a suffix."""
        return os.path.join(self._folder, f"{next(self._numbers)}{suffix}")

    async def save(self, uploads: Sequence[UploadFile]) -> list[str]:
        """The paths of uploads."""
        names = {}
        for upload in uploads:
            path = self.path(".upload")
            with open(path, "wb") as file:
                await run_in_threadpool(shutil.copyfileobj, upload.file, file)
            name = (upload.filename or "").replace("\\", "/")
            names[path] = os.path.basename(name) or "recording"
        self.names |= names
        return list(names)


def _folder(request: Request) -> Iterator[Folder]:
    place = request.app.state.folder
    # Until the answer is sent, or the client has gone, while work may still be writing.
    with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as name:
        yield Folder(name)


Uploads = Annotated[Folder, Depends(_folder)]


@dataclasses.dataclass(frozen=True)
class Made:
    """A recording that was made of another.

    Attributes:
        path: of it.
        name: by which it is sent.
        metadata: what there is to say of it.
    """

    path: str
    name: str
    metadata: Mapping


async def answer_each(
    model: serving.Model,
    folder: Folder,
    uploads: Sequence[UploadFile],
    answer: Callable[[str], Awaitable[Any]],
) -> list[Any]:
    """What is answered of each of some recordings.

    Args:
        model: whose limit of seconds holds for all of them.
        folder: where they are kept meanwhile.
        uploads: the recordings.
        answer: of the path of one.

    Returns:
        The answers; `BadRecording` in place of one that cannot be used, if they are several.

    Raises:
        LinError: the only one cannot be used, or too much is waiting.
    """
    answers, seconds = [], 0.0
    for path in await folder.save(uploads):
        try:
            with serving.named(folder.names):
                if len(uploads) > 1:
                    seconds += await run_in_threadpool(files.duration, path)
                    model.check_seconds(path, seconds)
                answers.append(await answer(path))
        except AudioError as error:
            if len(uploads) == 1:
                raise
            answers.append(BadRecording(file=folder.names[path], error=str(error)))
    return answers


async def answer_all(*args) -> Any:
    """What `answer_each` answers; of a single recording, not in a list."""
    answers = await answer_each(*args)
    return answers[0] if len(answers) == 1 else answers


def answer_recordings(
    router,
    model: serving.Model,
    name: str,
    answer_type: Any,
    description: str,
    answer: Callable[[str, str], Awaitable[Any]],
):
    """Add the route of a job that says something of each recording.

    Args:
        router: to add it to.
        model: as for `answer_each`.
        name: of the job.
        answer_type: of what is answered of one recording.
        description: of the route.
        answer: of the path of a recording, and the name by which its sender knows it.
    """

    @router.post(
        f"/{name}",
        name=name,
        description=description,
        response_model=answer_type | list[answer_type | BadRecording],
    )
    async def of_each(file: list[UploadFile], uploads: Uploads):
        async def of_path(path):
            return await answer(path, uploads.names[path])

        return await answer_all(model, uploads, file, of_path)


def send(
    folder: Folder, made: Sequence[Made | BadRecording], *, only_metadata: bool = False
) -> Any:
    """A recording with its metadata as a header, or a ZIP archive of several with metadata.json."""
    if only_metadata:
        rows = [each.metadata if isinstance(each, Made) else each for each in made]
        return rows[0] if len(rows) == 1 else rows
    if len(made) == 1 and isinstance(made[0], Made):
        return recording(made[0])
    path, rows = folder.path(".zip"), []
    with zipfile.ZipFile(path, "w") as archive:
        for number, each in enumerate(made):
            if isinstance(each, BadRecording):
                rows.append(each.model_dump())
                continue
            name = each.name if each.name not in archive.namelist() else f"{number}_{each.name}"
            archive.write(each.path, name)
            rows.append({**each.metadata, "out": name})
        archive.writestr("metadata.json", json.dumps(rows, indent=2))
    return FileResponse(path, filename="recordings.zip", media_type=ARCHIVE)


def recording(made: Made) -> FileResponse:
    """The answer that is a recording, with what there is to say of it."""
    kind = MEDIA_TYPES[pathlib.Path(made.path).suffix[1:]]
    headers = {"Lin-Metadata": json.dumps(made.metadata)}
    return FileResponse(made.path, filename=made.name, media_type=kind, headers=headers)


def create(
    models: Mapping[Job, serving.Model],
    folder: str | None = None,
    recorder: monitoring.Recorder | None = None,
) -> FastAPI:
    """The FastAPI application that answers for these models, to be mounted at `ADDRESSES`.

    Args:
        models: what is served.
        folder: where recordings lie while a request is answered.
        recorder: what counts the requests, for /metrics.
    """
    # FastAPI's pages of documentation would load scripts from the Internet.
    api = FastAPI(
        title="lin_jax",
        version=lin_jax.__version__,
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
    )
    api.state.folder = folder
    _explain_problems(api, ", ".join(serving.addresses(models)))
    for job, model in models.items():
        job.endpoint(api, model)

    @api.get("/health")
    async def health() -> Health:
        """Whether the server answers; asked without a key, too."""
        jobs = [job.name for job in models]
        return Health(status="ok", version=lin_jax.__version__, jobs=jobs)

    @api.get("/models")
    async def served() -> Models:
        """The bundles that are served, and the jobs that each does."""
        jobs: dict[str, list[str]] = {}
        for job, model in models.items():
            if model.bundle is not None:
                jobs.setdefault(model.bundle.name, []).append(job.name)
        return Models(data=[ServedModel(id=name, jobs=names) for name, names in jobs.items()])

    @api.get("/voices")
    def voices() -> list[Voice]:
        """The voices that speech can have by name: learnt ones, and saved ones of this machine."""
        voices: dict[str, Voice] = {}
        for job, model in models.items():
            for name, sex, saved in serving.voices(model.bundle):
                row = Voice(name=name, sex=sex, saved=saved, jobs=[])
                voices.setdefault(name, row).jobs.append(job.name)
        return list(voices.values())

    @api.get("/metrics", response_class=Response, responses=TEXT)
    async def metrics():
        """Counts and times of requests, and what is waiting, as Prometheus reads them."""
        waiting = {job.name: model.worker.waiting for job, model in models.items()}
        text = (recorder or monitoring.Recorder()).exposition(waiting)
        return Response(text, media_type=monitoring.MEDIA_TYPE)

    @api.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(api_page.render(api.openapi(), request.scope.get("root_path", "")))

    return api


def _explain_problems(api: FastAPI, served: str):
    """Let every problem be one line."""

    @api.exception_handler(LinError)
    async def refuse(request: Request, error: LinError):
        statuses = {BusyError: 503, WorkEndedError: 504, ConsentError: 400}
        status = statuses.get(type(error), 422)
        headers = {"Retry-After": "10"} if status == 503 else None
        return _problem(request, str(error), status, headers)

    @api.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError):
        parameters = request["route"].dependant.body_params
        fields = {each.name: _described(each.field_info) for each in parameters}
        problems = [(tuple(problem["loc"][1:]), problem["msg"]) for problem in error.errors()]
        names = dict.fromkeys(str(place[0]) if place else "" for place, _ in problems)
        if set(names) <= set(fields):
            missing = ", ".join(f"no {fields[name][0]} as {name}" for name in names)
            wanted = " ".join(f"{name}={fields[name][1]}" for name in names)
            return _problem(request, f"{missing}; send form data with {wanted}", 422)
        # Where JSON is broken, the place is that of a character.
        named = [
            (".".join(x for x in place if isinstance(x, str)), what) for place, what in problems
        ]
        lines = [f"{place or 'body'}: {what}" for place, what in named]
        return _problem(request, "; ".join(lines).replace("\n", " "), 422)

    @api.exception_handler(HTTPException)
    async def decline(request: Request, error: HTTPException):
        problem = error.detail.lower().rstrip(".")
        line = f"{request.url.path}: {problem}; POST to {served}"
        return _problem(request, line, error.status_code)


def _problem(request: Request, line: str, status: int, headers: dict | None = None) -> JSONResponse:
    """The answer in place of a result; clients of OpenAI's API look for the line one level deeper."""
    openai = getattr(request.scope.get("route"), "path", "").startswith(OPENAI)
    error = {"message": line, "type": "invalid_request_error"} if openai else line
    return JSONResponse({"error": error}, status, headers)


def _described(field: Any) -> tuple[str, Any]:
    """What a field of a form is, and an example of one."""
    if typing.get_origin(field.annotation) is Literal:
        choices = typing.get_args(field.annotation)
        return " or ".join(choices), choices[0]
    kind = {str: "text", float: "number", bool: "true or false"}.get(field.annotation, "recording")
    example = "true" if kind == "true or false" else "@clip.wav"
    return kind, field.examples[0] if field.examples else example
