"""Locks: one process at a time works on a folder, and a file beside it says which."""

import contextlib
import fcntl
import os
import pathlib
import platform
import time
from collections.abc import Iterator

from lin_jax.errors import LinError


@contextlib.contextmanager
def hold(folder, error: type[LinError] = LinError, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder or file, which need not exist; a process that is killed lets go of it.

    Args:
        folder: whose lock is the file FOLDER.lock, there as long as it is held.
        error: what is raised.
        wait: until another process lets go of it, as is right where that takes no time.

    Raises:
        LinError: another process holds it, which is named; or its file cannot be written.
    """
    path = pathlib.Path(f"{folder}.lock")
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                file = stack.enter_context(open(path, "a+"))
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                        break  # else whoever held it has just removed it
            file.truncate(0)
            print(f"process {os.getpid()} on {platform.node()}, {time.ctime()}", file=file)
            file.flush()
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise error(
                f"{folder}: in use by {holder}; wait until it ends, or choose another folder"
            ) from None
        except OSError as problem:
            raise error(
                f"{path}: cannot be written ({problem.strerror}); free space or choose another place"
            ) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
