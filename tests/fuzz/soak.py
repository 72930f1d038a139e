"""Many clients at once: `PYTHONPATH=tests python -m fuzz.soak` (make soak).

`lin serve`, with all models that ship, answers a mix of requests, and what it takes is compared with
what is promised; the exit code is 1 where a limit is missed.
"""

import argparse
import collections
import contextlib
import http.client
import io
import os
import pathlib
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import numpy as np
import soundfile

from data_pipelines import espeak
from lin_jax.espeak import library

TEXT = "The evening train was late again, and nobody on the platform knew when it would come."
SECONDS = 4.0  # of a clip
KINDS = (("emotion", "file"), ("gender", "file"), ("verify", "ab"), ("repair", "file"))
SHORT_KINDS, SHORT_CLIENTS, SHORT_REQUESTS = KINDS[:3], 16, 500  # what only listens, afterwards
MALFORMED = 20  # one request of so many
REMOVAL_SECONDS = 1.0  # uploads are removed after their answer is sent
LONG_SECONDS = 600.0  # of the recording that is repaired while short ones are answered
PAGE = re.compile(r"http://([\d.]+:\d+)")


def clip(seconds: float, seed: int) -> bytes:
    """A WAV of a voice, which by its seed is one of a few: a buzz is no speech to some models."""
    line = {"voice": f"en-us+m{1 + seed % 7}", "text": TEXT, "gain_db": -3.0}
    with tempfile.NamedTemporaryFile(suffix=".wav") as spoken:
        values = dict.fromkeys(espeak.PARAMETERS, 50) | {"rate": 160 + seed}
        espeak.speak([line | values | {"path": spoken.name}], *library())
        samples, rate = soundfile.read(spoken.name)
    file = io.BytesIO()
    soundfile.write(file, np.resize(samples, round(seconds * rate)), rate, format="WAV")
    return file.getvalue()


def form(fields: dict[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Uploads as the body and the headers of a request."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="clip.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in fields.items()
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


class Server:
    """`lin serve` with a temporary folder of its own."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        command = [sys.executable, "-m", "lin_jax.apps.cli", "serve", "--port", "0"]
        environment = os.environ | {"TMPDIR": str(folder)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        for line in self.process.stdout:
            if address := PAGE.search(line):
                self.address = address[1]
                return
        raise SystemExit("lin serve did not start")

    def ask(self, job: str, fields: dict[str, bytes]) -> tuple[int, float]:
        """The status of an answer, and the seconds until all of it was there."""
        body, headers = form(fields)
        started = time.monotonic()
        connection = http.client.HTTPConnection(self.address, timeout=300)
        try:
            connection.request("POST", f"/api/{job}", body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, time.monotonic() - started
        finally:
            connection.close()

    def cpu_seconds(self) -> float:
        """Processor time that the server has used."""
        fields = pathlib.Path("/proc", str(self.process.pid), "stat").read_text().rpartition(")")[2]
        return sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Memory of the server and of the processes that it has started."""
        waiting, total = [self.process.pid], 0.0
        while waiting:
            process = pathlib.Path("/proc", str(waiting.pop()))
            with contextlib.suppress(OSError):
                pages = int((process / "statm").read_text().split()[1])
                total += pages * os.sysconf("SC_PAGESIZE") / 1e6
                for task in (process / "task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
        return total

    def files(self) -> list[pathlib.Path]:
        """What lies in its temporary folder."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


def requests(count: int, kinds=KINDS) -> Iterator[tuple[str, dict[str, bytes], int]]:
    """Jobs in turn, with uploads of a few clips, and the status that belongs to each."""
    clips = [clip(SECONDS, seed) for seed in range(16)]
    rng = np.random.default_rng(0)
    for number in range(count):
        job, names = kinds[number % len(kinds)]
        names = [names] if names == "file" else list(names)
        fields = {name: clips[rng.integers(len(clips))] for name in names}
        malformed = number % MALFORMED == MALFORMED - 1
        if malformed:
            content = fields[names[0]]
            fields[names[0]] = (content[:40], b"", rng.bytes(5000), b"<html>")[rng.integers(4)]
        yield job, fields, 422 if malformed else 200


def load(server: Server, count: int, clients: int, kinds=KINDS) -> dict[str, float]:
    """Let clients ask one request after the other, until all are answered: what that took."""
    waiting, lock = requests(count, kinds), threading.Lock()
    seconds, errors, memory = collections.defaultdict(list), collections.Counter(), []

    def client():
        while True:
            with lock:
                request = next(waiting, None)
                if request is None:
                    return
                memory.append(server.megabytes())
            job, fields, expected = request
            try:
                status, took = server.ask(job, fields)
            except OSError as error:
                status, took = type(error).__name__, 0.0
            if status != expected:
                errors[f"{job}: {status}"] += 1
            seconds[job].append(took)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started, used = time.monotonic(), server.cpu_seconds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    used = server.cpu_seconds() - used
    for job, times in sorted(seconds.items()):
        print(f"  {job:<8} p50 {np.median(times):6.2f} s   p99 {np.percentile(times, 99):6.2f} s")
    for problem, times in errors.items():
        print(f"  {times} × {problem}")
    whole = np.concatenate(list(seconds.values()))
    tenth = max(1, count // 20)
    middle, end = np.median(memory[count // 2 :][:tenth]), np.median(memory[-tenth:])
    return {
        "errors": errors.total(),
        "p50, s": np.median(whole),
        "p99, s": np.percentile(whole, 99),
        "requests a second": count / elapsed,
        "CPU seconds a request": used / count,
        "memory at the end, MB": end,
        "memory over the last half, %": 100 * (end / middle - 1),
    }


def beside_long(server: Server) -> float:
    """By how many seconds a request takes longer while a long recording is repaired."""
    short = {"file": clip(3.5, 1)}

    def typical() -> float:
        return float(np.median([server.ask("gender", short)[1] for _ in range(10)]))

    alone = typical()
    body = {"file": clip(LONG_SECONDS, 0)}
    long = threading.Thread(target=server.ask, args=("repair", body))
    long.start()
    time.sleep(10.0)  # it has begun
    beside = typical()
    assert long.is_alive(), "what is long has ended too soon to be measured"
    long.join()
    return beside - alone


def stop(server: Server) -> float:
    """Seconds until the server has ended after SIGTERM, with requests in flight."""
    body = {"file": clip(60.0, 0)}  # espeak-ng speaks one sentence at a time

    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.ask("repair", body)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(60)
    ended = time.monotonic() - started
    for thread in threads:
        thread.join()
    return ended


# (what is measured, whether it is to be at most or at least, that)
LIMITS = (
    ("errors", "≤", 0),
    ("p99, s", "≤", 8),
    ("requests a second", "≥", 15),
    ("memory at the end, MB", "≤", 900),
    ("memory over the last half, %", "≤", 2),
    ("16 clients: errors", "≤", 0),
    ("16 clients: p99, s", "≤", 2),
    ("16 clients: requests a second", "≥", 25),
    ("files left", "≤", 0),
    ("longer beside a long one, s", "≤", 1),
    ("end after SIGTERM, s", "≤", 3),
    ("files left by SIGTERM", "≤", 0),
)


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, and return 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=50)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(pathlib.Path(folder))
        try:
            for job, names in KINDS:
                server.ask(
                    job,
                    {name: clip(SECONDS, 0) for name in ([names] if names == "file" else names)},
                )
            print(f"{args.requests} requests by {args.clients} clients:")
            figures = load(server, args.requests, args.clients)
            print(f"{SHORT_REQUESTS} requests by {SHORT_CLIENTS} clients:")
            short = load(server, SHORT_REQUESTS, SHORT_CLIENTS, SHORT_KINDS)
            for name in ("errors", "p99, s", "requests a second"):
                figures[f"{SHORT_CLIENTS} clients: {name}"] = short[name]
            time.sleep(REMOVAL_SECONDS)
            figures["files left"] = len(server.files())
            figures["longer beside a long one, s"] = beside_long(server)
            figures["end after SIGTERM, s"] = stop(server)
            figures["files left by SIGTERM"] = len(server.files())
        finally:
            server.process.kill()
    missed = 0
    limits = {name: (sign, limit) for name, sign, limit in LIMITS}
    for name, value in figures.items():
        sign, limit = limits.get(name, ("", np.nan))
        fails = sign and not (value <= limit if sign == "≤" else value >= limit)
        missed += bool(fails)
        bound = f"{sign} {limit:g}" if sign else ""
        print(f"{name:<31} {value:8.2f}   {bound:<8} {'MISSED' if fails else ''}".rstrip())
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
