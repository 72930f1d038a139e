"""Scripts of `experiments/peers`, run by an interpreter of an environment of their own."""

import json
import os
import pathlib
import subprocess

from lin_jax.errors import ConfigError

PARALLEL = {name: str(os.cpu_count()) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def run(python: str, script: str, given: dict, *, flag: str = "--peer") -> list[dict]:
    """The objects that a script prints, one a line.

    Args:
        python: path of the interpreter.
        script: name of the file.
        given: what the script reads from standard input, as JSON.
        flag: of the command line that named the interpreter.

    Raises:
        ConfigError: no such interpreter, or the script failed, such as for lack of a package.
    """
    path = pathlib.Path(__file__).with_name("peers") / f"{script}.py"
    try:
        done = subprocess.run(
            [python, str(path)],
            input=json.dumps(given),
            text=True,
            capture_output=True,
            check=False,
            env=os.environ | PARALLEL,
        )
    except OSError as error:
        raise ConfigError(f"{python}: {error.strerror}; name an interpreter as {flag}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigError(
            f"{python} {path.name}: {last}; name an interpreter that has what it needs as {flag}"
        )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
