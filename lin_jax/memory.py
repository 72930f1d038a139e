"""What glibc does with memory that networks free; other C libraries are left as they are."""

import contextlib
import ctypes
import threading
import time

# Numbers of its malloc.h. Memory from this many bytes on is mapped, and given back at once; what is
# free at the end of the rest is, from so many on; and so many threads have memory of their own.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
TRIM_SECONDS = 30.0


def keep_freed():
    """Let this process use again what it frees, for trainings and whatever else repeats itself.

    Large arrays would be mapped anew with every call, page by page: 15 to 19 % of the processor's
    time of a training step on CPU, and half of that of the front end.
    """
    _set({M_ARENA_MAX: 1, M_MMAP_THRESHOLD: 1 << 30, M_TRIM_THRESHOLD: (1 << 31) - 1})


def give_back_freed():
    """Let this process return to the system what it frees, for a server that idles.

    Each thread would keep some for itself, which of 1.4 GB after mixed requests to all models was
    0.2 GB, and what is free between what is used would stay, 40 MB. What requests for short
    recordings need stays for the next ones, until `TRIM_SECONDS` are over: to map it anew took a
    fifth of the processor's time.
    """
    libc = _set({M_ARENA_MAX: 1, M_MMAP_THRESHOLD: 24 << 20, M_TRIM_THRESHOLD: 64 << 20})
    if libc is None:
        return

    def trim():
        while True:
            time.sleep(TRIM_SECONDS)
            libc.malloc_trim(0)

    threading.Thread(target=trim, daemon=True).start()


def _set(parameters: dict[int, int]) -> ctypes.CDLL | None:
    """The C library, once its parameters are set; None where it has none."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for parameter, value in parameters.items():
            libc.mallopt(parameter, value)
        return libc
    return None
