"""The command line: `lin COMMAND …`, one command a job.

Exit codes: 0 all was done, 1 some inputs failed and were named on stderr, 2 nothing could be done, 130 interrupted.
"""

import argparse
import contextlib
import hashlib
import os
import pathlib
import platform
import sys

import lin_jax
from lin_jax.apps import classify, repair, speak, speakers, web
from lin_jax.errors import exit_code

COMPILED = pathlib.Path("~/.lin_jax/compiled")
COMMANDS = (*classify.COMMANDS, *speakers.COMMANDS, *repair.COMMANDS, *speak.COMMANDS, *web.COMMANDS)


def main(argv: list[str] | None = None) -> int:
    """Run `lin` with these arguments (those of the process by default) and return the exit code."""
    args = _parser().parse_args(argv)
    _remember_compiled()
    return exit_code(lambda: args.run(args), prefix="lin")


def _remember_compiled():
    """Let a command find what an earlier one compiled; what was compiled for one processor is not for another.

    By environment variables, which JAX reads when it is imported and which anyone may set otherwise.
    """
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    folder = COMPILED.expanduser() / hashlib.sha256(processor.encode()).hexdigest()[:12]
    with contextlib.suppress(OSError):  # a home that cannot be written to
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lin",
        description="Speech tools that run on your own machine: nothing you give them leaves it.",
        epilog="lin COMMAND --help shows what a command takes, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"lin_jax {lin_jax.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for command in COMMANDS:
        child = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            epilog=command.teach,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(child)
        child.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
