"""The server of the page and the HTTP API: `lin serve`."""

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from typing import Any

from lin_jax import memory
from lin_jax.apps import jobs, serving
from lin_jax.apps.common import Command
from lin_jax.apps.settings import Settings, environment
from lin_jax.errors import ConfigError

EXTRA = "the page needs FastAPI, uvicorn and Gradio: pip install 'lin_jax[serve]'"
MAX_CONNECTIONS = 500
MAX_WARMING = 20.0  # seconds until requests are answered, whether or not all models are compiled


def _arguments(parser):
    defaults = Settings()
    parser.add_argument(
        "--model",
        nargs="+",
        metavar="BUNDLE",
        help="bundle folders of your own beside those that ship; one of the same job takes its place",
    )
    parser.add_argument(
        "--host", help=f"address to answer on (default: {defaults.host}, this machine alone)"
    )
    parser.add_argument("--port", type=int, help=f"to answer on (default: {defaults.port})")
    parser.add_argument(
        "--allow-host",
        nargs="+",
        metavar="NAME",
        help="names of this machine by which it may be asked, beside localhost and its addresses",
    )
    parser.add_argument(
        "--cors-origin",
        nargs="+",
        metavar="URL",
        help="other sites whose pages may ask the API, such as https://voices.example",
    )
    parser.add_argument(
        "--rate-limit",
        type=float,
        metavar="N",
        help="requests a minute that each client may post (default: any number)",
    )
    parser.add_argument(
        "--max-megabytes",
        type=float,
        metavar="MB",
        help=f"of an upload (default: {defaults.max_megabytes:g})",
    )
    parser.add_argument(
        "--max-seconds",
        nargs="+",
        metavar="JOB=SECONDS",
        help="of the recordings of one request of a job, such as repair=3600",
    )


def _serve(args) -> int:
    """Answer until Ctrl-C or SIGTERM."""
    settings = Settings.read(args, environment())
    memory.give_back_freed()
    models: dict = {}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = tempfile.mkdtemp(prefix="lin_serve_")
    try:
        with _listening(settings.host, settings.port) as connections:
            _answer(settings, connections, models, folder)
    finally:
        serving.close(models)
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)
        # A network that is at work cannot be stopped, and Python takes seconds to end beside it.
        if models and isinstance(sys.exception(), KeyboardInterrupt):
            sys.stdout.flush()
            os._exit(130)
    return 0


def _answer(settings: Settings, connections: socket.socket, models: dict, folder: str):
    from lin_jax import bundles

    limits = dict(map(_limit, settings.max_seconds))
    shipped = [job.bundle for job in jobs.discover() if job.bundle in bundles.shipped()]
    models |= serving.load([*dict.fromkeys(shipped), *settings.model], limits)
    os.environ["GRADIO_TEMP_DIR"] = folder  # read when Gradio is imported, and later
    try:
        import uvicorn
        from fastapi import FastAPI
        from fastapi.middleware.cors import CORSMiddleware

        from lin_jax.apps import access, api, guard, monitoring, page
    except ImportError:
        raise ConfigError(EXTRA) from None
    app = FastAPI(openapi_url=None)
    recorder = monitoring.Recorder(sys.stderr)
    routes = api.create(models, folder, recorder)
    for address in api.ADDRESSES:
        app.mount(address, routes)
    page.mount(app, models, folder, settings.max_megabytes)
    print("the models are warming up …", flush=True)
    warming = serving.warm_up(models)
    warming.join(MAX_WARMING)
    if warming.is_alive():
        print("some are still compiled, once: their first answers take longer")
    host, port = connections.getsockname()[:2]
    print(f"the page is at http://{host}:{port} and the API below /v1; Ctrl-C ends it", flush=True)
    layers: Any = access.Access(app, settings.api_key, settings.rate_limit)
    if settings.cors_origin:
        layers = CORSMiddleware(
            layers,
            allow_origins=settings.cors_origin,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Lin-Metadata", "Content-Disposition", "Retry-After"],
        )
    hosts = [settings.host, *settings.allow_host]
    layers = guard.Guard(layers, hosts, settings.max_megabytes, settings.cors_origin)
    config = uvicorn.Config(
        monitoring.Watch(layers, recorder),
        http=guard.Connection,
        log_config=None,
        timeout_graceful_shutdown=1,
        limit_concurrency=MAX_CONNECTIONS,
    )
    server = uvicorn.Server(config)
    # A page that is open in a browser keeps a connection: Ctrl-C does not wait for it, nor show
    # how it is cut.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    server.run(sockets=[connections])


def _limit(text: str) -> tuple[str, float]:
    job, _, seconds = text.partition("=")
    try:
        return job, float(seconds)
    except ValueError:
        raise ConfigError(f"--max-seconds {text}: give JOB=SECONDS, such as repair=3600") from None


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port}: ports go from 0 to 65535; choose another --port")
    try:
        return socket.create_server((host, port))
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"{host}:{port}: {reason}; choose another --host or --port") from None


def _examples() -> str:
    lines = "\n".join(job.requests for job in jobs.discover()).splitlines()
    return "\n".join(f"  {line}" for line in lines)


COMMAND = Command(
    name="serve",
    summary="show a page in the browser, and answer other programs over HTTP",
    teach=f"""\
examples:
  lin serve                                             the page: record or drop a file, see the answer
  lin serve --port 8000 --model runs/mine/ship/gender   with a network of your own
{_examples()}

A job has a tab and an address if its bundle is there; /v1/docs shows all of them, /api is another name of /v1.
What cannot be answered has a status of 4xx and {{"error": "one line"}}, which curl --fail-with-body tells from a file.
Several -F file=… are answered one by one; an upload may have {Settings.max_megabytes:g} MB.
Speech: voice is a name or recordings, averaged if several, which take consent=true: copy only voices you may copy.
format= is wav, flac, mp3 or opus; stream=true sends each sentence as soon as it is made. OpenAI's clients work:
base_url http://localhost:7860/v1, model synthesis. The header Lin-Metadata says more of a file, in JSON.
Nothing leaves the machine, and no recording is kept: the API deletes it with the answer, the page within minutes.
What was fitted to the latest 32 copied voices stays in memory, so that the same recordings are not fitted again.

Each flag can stand in the environment or in .env instead, as LIN_PORT=8000 or LIN_MAX_SECONDS="repair=3600 speak=60".
LIN_API_KEY=… is a key without which nobody is answered: Authorization: Bearer KEY, in the browser the password of any
user. With --host 0.0.0.0 other machines can reach it: set a key, and put HTTPS before it.
Each request is a line of JSON on stderr, without who asked and what; /v1/metrics is for Prometheus.
It needs the extra: pip install 'lin_jax[serve]'""",
    add_arguments=_arguments,
    run=_serve,
)
