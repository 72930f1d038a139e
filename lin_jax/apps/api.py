"""The HTTP API over the models that are served.

    POST /api/JOB       file=… and the like: what the job's command prints with --json, or a file
    GET  /api/openapi.json

A file comes with what there is to say of it as JSON in the header `Lin-Metadata`. What cannot be
answered is {"error": "one line"}: 422 for a recording that cannot be used or is missing, 413 for an
upload that is too large, 404 for what is not served, 503 while too much is waiting, 504 for what
took too long; `lin_jax.apps.guard` stands before it.
"""

import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import lin_jax
from lin_jax.apps import serving
from lin_jax.apps.jobs import Job
from lin_jax.apps.workers import BusyError, WorkEndedError
from lin_jax.errors import LinError


class Problem(BaseModel):
    """What is answered in place of a result."""

    error: str


# For the description of the API: what any route may answer, and what those that make a recording do.
PROBLEMS: dict = {status: {"model": Problem} for status in (400, 403, 408, 413, 421, 422, 503, 504)}
BINARY = {"schema": {"type": "string", "format": "binary"}}
RECORDING: dict = {200: {"content": {"audio/wav": BINARY, "audio/flac": BINARY}}}


class Folder:
    """Where the recordings of a request are until it is answered.

    Attributes:
        names: of the uploads in it, by their paths.
    """

    def __init__(self, folder: str):
        self._folder = folder
        self.names: dict[str, str] = {}

    def path(self, name: str) -> str:
        """The path of a file in it."""
        return os.path.join(self._folder, name)

    async def save(self, uploads: Sequence[UploadFile]) -> list[str]:
        """The paths of uploads."""
        names = {}
        for upload in uploads:
            path = self.path(f"{len(self.names) + len(names)}.upload")
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


def recording(path: str, name: str, metadata: Mapping) -> FileResponse:
    """The answer that is a recording, by a name, with what there is to say of it."""
    kind = pathlib.Path(path).suffix[1:]
    headers = {"Lin-Metadata": json.dumps(metadata)}
    return FileResponse(path, filename=name, media_type=f"audio/{kind}", headers=headers)


def create(models: Mapping[Job, serving.Model], folder: str | None = None) -> FastAPI:
    """The FastAPI application that answers for these models, to be mounted at /api.

    Args:
        models: what is served.
        folder: where recordings lie while a request is answered.
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
    served = ", ".join(serving.addresses(models))

    @api.exception_handler(LinError)
    async def refuse(request: Request, error: LinError):
        status = {BusyError: 503, WorkEndedError: 504}.get(type(error), 422)
        headers = {"Retry-After": "10"} if status == 503 else None
        return JSONResponse({"error": str(error)}, status, headers)

    @api.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError):
        names = dict.fromkeys(problem["loc"][1] for problem in error.errors())
        parameters = {each.name: each.field_info for each in request["route"].dependant.body_params}
        fields = {name: _described(parameters[name]) for name in names}
        missing = ", ".join(f"no {kind} as {name}" for name, (kind, _) in fields.items())
        wanted = " ".join(f"{name}={example}" for name, (_, example) in fields.items())
        return JSONResponse({"error": f"{missing}; send form data with {wanted}"}, 422)

    @api.exception_handler(HTTPException)
    async def decline(request: Request, error: HTTPException):
        problem = error.detail.lower().rstrip(".")
        return JSONResponse(
            {"error": f"{request.url.path}: {problem}; POST to {served}"}, error.status_code
        )

    for job, model in models.items():
        job.endpoint(api, model)
    return api


def _described(field: Any) -> tuple[str, Any]:
    """What a field of a form is, and an example of one."""
    kind = {str: "text", float: "number"}.get(field.annotation, "recording")
    return kind, field.examples[0] if field.examples else "@clip.wav"
