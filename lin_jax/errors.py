"""Errors a user can act on: one line that says what is wrong and how to mend it."""

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator


class LinError(Exception):
    """Base of every error that is the fault of the input.

    The command line prints it without a traceback.
    """


class AudioError(LinError):
    """A file or array that is not usable audio."""


class AudioWarning(UserWarning):
    """Something about a recording that its user should know, though it can be used."""


class SilenceError(AudioError):
    """Audio in which there is no sound at all."""


class ShapeError(LinError, ValueError):
    """An array of a shape or type that a function cannot take."""


class CorpusError(LinError):
    """A corpus folder, table or split that is not as described."""


class FeatureError(LinError):
    """A feature set that is missing, broken, or made with another front end."""


class TextError(LinError):
    """A text that cannot be spoken, or that lacks what it takes to read it."""


class ConfigError(LinError):
    """A configuration whose values cannot work together."""


class ConsentError(LinError):
    """A voice of which nobody has stated that it may be used."""


class CheckpointError(LinError):
    """A checkpoint that is missing, broken, or of another model."""


class TrainingError(LinError):
    """A training run that cannot go on, such as a loss that is not finite."""


class BundleError(LinError):
    """A model bundle that is missing, broken, or made for another front end."""


class GalleryError(LinError):
    """A gallery of voices that is empty or damaged, or a name that is not or cannot be in it."""


class WorkCancelledError(LinError):
    """Work that was given up before its end."""


def exit_code(
    command: Callable[[], int | None], *, prefix: str = "error", interrupted: str = ""
) -> int:
    """Run a command line's work.

    What the user can mend becomes one line on stderr, never a traceback.

    Args:
        command: the work; returns its exit code, None being 0.
        prefix: what the line begins with.
        interrupted: line for Ctrl-C; none when empty.

    Returns:
        The command's exit code; 2 after a `LinError` or when the disk is full or forbidden, 130
        after Ctrl-C, 141 when nobody reads the output any more.

    Raises:
        SystemExit: with 128 + the number of SIGTERM or SIGHUP, if that ended the work.
    """
    _open_standard_streams()
    try:
        with _unwound_by_signals():
            code = command() or 0
        sys.stdout.flush()  # at exit it would be too late to tell of a full disk
        return code
    except LinError as error:
        line, code = f"{prefix}: {error}", 2
    except KeyboardInterrupt:
        line, code = interrupted, 130
    except BrokenPipeError:  # whoever read our output, such as `head`, has seen enough
        line, code = "", 141
    except OSError as error:
        where = "output" if error.filename is None else error.filename
        reason = f"{where}: {error.strerror or error}"
        line = f"{prefix}: {reason}; free space or correct the path, then run again"
        code = 2
    if line:
        print(printable(line), file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # Python would try once more at exit, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def printable(value) -> str:
    """Any path or error as one line of a terminal, whatever bytes and control characters are in it."""
    text = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1]  # they could paint over other lines
        for letter in text
    )


def _open_standard_streams():
    """What was started without one of them can be read and printed to; no character is too much."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # in this order they get the numbers that are free, 0 to 2
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or file that is not UTF-8
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _unwound_by_signals() -> Iterator[None]:
    """Where SIGTERM and SIGHUP end the work as an error does, so that nothing half-written stays."""

    def end(number, _):
        signal.signal(number, signal.SIG_DFL)  # a second one does not wait for the cleaning up
        raise SystemExit(128 + number)

    numbers = []
    if threading.current_thread() is threading.main_thread():  # Python tells no other
        numbers = [signal.SIGTERM, signal.SIGHUP]
    changed = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
