"""The server of the page and the HTTP API: `lin serve`."""

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile

from lin_jax.apps import jobs, serving
from lin_jax.apps.common import Command
from lin_jax.errors import ConfigError

EXTRA = "the page needs FastAPI, uvicorn and Gradio: pip install 'lin_jax[serve]'"
MAX_CONNECTIONS = 500


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
    parser.add_argument(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names of this machine by which it may be asked, beside localhost and its addresses",
    )
    parser.add_argument(
        "--max-megabytes",
        type=float,
        default=serving.MAX_MEGABYTES,
        metavar="MB",
        help="of an upload (default: %(default)s)",
    )
    parser.add_argument(
        "--max-seconds",
        nargs="+",
        default=[],
        metavar="JOB=SECONDS",
        help="of the recordings of one request of a job, such as repair=3600",
    )


def _serve(args) -> int:
    """Answer until Ctrl-C or SIGTERM."""
    models: dict = {}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = tempfile.mkdtemp(prefix="lin_serve_")
    try:
        with _listening(args.host, args.port) as connections:
            _answer(args, connections, models, folder)
    finally:
        serving.close(models)
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)
        # A network that is at work cannot be stopped, and Python takes seconds to end beside it.
        if models and isinstance(sys.exception(), KeyboardInterrupt):
            sys.stdout.flush()
            os._exit(130)
    return 0


def _answer(args, connections: socket.socket, models: dict, folder: str):
    from lin_jax import bundles

    limits = dict(map(_limit, args.max_seconds))
    shipped = [job.bundle for job in jobs.discover() if job.bundle in bundles.shipped()]
    models |= serving.load([*dict.fromkeys(shipped), *args.model], limits)
    os.environ["GRADIO_TEMP_DIR"] = folder  # read when Gradio is imported, and later
    try:
        import uvicorn
        from fastapi import FastAPI

        from lin_jax.apps import api, guard, page
    except ImportError:
        raise ConfigError(EXTRA) from None
    app = FastAPI(openapi_url=None)
    app.mount("/api", api.create(models, folder))
    page.mount(app, models, folder)
    serving.warm_up(models)
    host, port = connections.getsockname()[:2]
    print(f"the page is at http://{host}:{port} and the API below /api; Ctrl-C ends it", flush=True)
    guarded = guard.Guard(app, [args.host, *args.allow_host], args.max_megabytes)
    config = uvicorn.Config(
        guarded,
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

A job has a tab and an address if its bundle is there. What cannot be answered has a status of 4xx and
{{"error": "one line"}}, which curl --fail-with-body tells from a file; an upload may have {serving.MAX_MEGABYTES} MB.
Repaired recordings stay WAV or FLAC, all others become WAV, as speech is; the header Lin-Metadata says more, in JSON.
Speech: voice is a name or recordings, averaged if several. Copy only voices you may copy: the file says in its
metadata that it is synthetic.
Nothing leaves the machine, and no recording is kept: the API deletes it with the answer, the page within minutes.
With --host 0.0.0.0 other machines can reach it; there is no password.
It needs the extra: pip install 'lin_jax[serve]'""",
    add_arguments=_arguments,
    run=_serve,
)
