"""What the user can mend is one line and an exit code."""

import errno
import os
import signal
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


def test_file_names_stay_on_their_line(capsys):
    """A name may hold what clears a terminal, or begins a new line that looks like an answer."""
    exit_code(fails(AudioError("a\x1b[2J\nb\u202e ü 日.wav: no such file")), prefix="lin")
    assert capsys.readouterr().err == "lin: a\\x1b[2J\\nb\\u202e ü 日.wav: no such file\n"


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(redirections):
    work = "lambda: print(len(sys.stdin.read()), sys.stderr.write(str()))"
    code = f"import sys; from lin_jax.errors import exit_code; sys.exit(exit_code({work}))"
    shell = ["sh", "-c", f'"$0" -c "$1" {redirections}', sys.executable, code]
    done = subprocess.run(shell, input="ab", capture_output=True, text=True, check=False)
    out = "" if ">&- " in f"{redirections} ".replace("2>&-", "") else "0 0\n"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (out if "<&-" in redirections else out.replace("0", "2", 1))


def test_output_that_cannot_take_a_character():
    code = "import sys; from lin_jax.errors import exit_code; sys.exit(exit_code(lambda: print('a → b')))"
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a \\u2192 b\n", b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_half_written_goes_where_a_signal_ends_it(tmp_path, number):
    code = (
        "import sys, time; from lin_jax import durable; from lin_jax.errors import exit_code\n"
        "def command():\n"
        "    with durable.replacing(sys.argv[1]) as part:\n"
        "        part.touch(), print(1, flush=True), time.sleep(60)\n"
        "sys.exit(exit_code(command))"
    )
    started = [sys.executable, "-c", code, tmp_path / "out.wav"]
    with subprocess.Popen(started, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        process.send_signal(number)
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []
