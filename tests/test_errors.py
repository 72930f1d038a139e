"""What the user can mend is one line and an exit code."""

import errno
import subprocess
import sys

import pytest

from lin_jax.errors import AudioError, exit_code


def fails(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (
            fails(AudioError("a.wav: no such file; check the path")),
            2,
            "lin: a.wav: no such file; check the path\n",
        ),
        (
            fails(OSError(errno.ENOSPC, "No space left", "runs/a")),
            2,
            "lin: runs/a: No space left; free space or cor",
        ),
        (
            fails(OSError("File too large")),
            2,
            "lin: output: File too large; free space or correct the path, then",
        ),
        (fails(BrokenPipeError()), 141, ""),
        (fails(KeyboardInterrupt()), 130, "run again to go on\n"),
    ],
)
def test_exit_code(capsys, command, code, line):
    assert exit_code(command, prefix="lin", interrupted="run again to go on") == code
    printed = capsys.readouterr().err
    assert printed.startswith(line)
    assert printed.count("\n") == bool(line)


def test_full_disk_behind_the_output():
    """It shows only when the buffer is flushed, and once more when the process ends."""
    code = "import sys; from lin_jax.errors import exit_code; sys.exit(exit_code(lambda: print('result')))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: output: No space left on device; free space or correct the path, then run again\n"
    )


def test_mistakes_of_ours_are_not_hidden():
    with pytest.raises(ValueError, match="ours"):
        exit_code(fails(ValueError("ours")))
