"""The command line: `lin COMMAND …`, the commands of every job and `lin serve`.

Exit codes: 0 all was done, 1 some inputs failed and were named on stderr, 2 nothing could be done,
130 interrupted.
"""

import argparse
import os
import sys

import lin_jax
from lin_jax import compilation_cache
from lin_jax.apps import clone, export, jobs, listen, serve, train, voice, warmup
from lin_jax.apps.common import Command, show_warnings
from lin_jax.errors import exit_code


def main(argv: list[str] | None = None) -> int:
    """Run `lin` with these arguments (those of the process by default) and return the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    compilation_cache.enable()
    # Read when NumPy is imported: its threads wait by running, and on a busy machine made what
    # takes half a second of one thread, such as keeping a fitted voice small, take ten.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with show_warnings():
        return exit_code(lambda: args.run(args), prefix="lin")


def commands() -> tuple[Command, ...]:
    """What `lin` can do."""
    of_jobs = (command for job in jobs.discover() for command in job.commands)
    tools = (listen, voice, clone, train, export, serve, warmup)
    return (*of_jobs, *(tool.COMMAND for tool in tools))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lin",
        description="Speech tools that run on your own machine: nothing you give them leaves it.",
        epilog="lin COMMAND --help shows what a command takes, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"lin_jax {lin_jax.__version__}")
    children = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in commands():
        child = children.add_parser(
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
