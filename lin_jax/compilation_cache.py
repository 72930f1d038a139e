"""Programs that were compiled once are found again by whoever runs the same next.

They are machine code that is loaded as it lies there: nobody else may write to the folder.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import sys

from lin_jax import private
from lin_jax.errors import LinError

FOLDER = pathlib.Path("~/.lin_jax/compiled")


def enable():
    """Let this process find what earlier ones compiled, and keep what it compiles.

    What was compiled for one processor is not for another. Anyone may set JAX's environment
    variables otherwise. A folder that others can write to is not used, and named on stderr.
    """
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    folder = FOLDER.expanduser() / hashlib.sha256(processor.encode()).hexdigest()[:12]
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    with contextlib.suppress(OSError):  # a home that cannot be written to
        try:
            for path in (FOLDER.expanduser().parent, FOLDER.expanduser(), folder):
                private.make_folder(path).chmod(0o700)
        except LinError as error:
            print(f"nothing compiled is kept or found: {error}", file=sys.stderr)
            return
        for name, value in settings.items():
            if name.upper() in os.environ:
                continue
            # For when JAX is imported, and for processes that are started.
            os.environ[name.upper()] = str(value)
            if "jax" in sys.modules:
                sys.modules["jax"].config.update(name, value)
