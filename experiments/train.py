"""From folders of recordings to a bundle in one command, which `lin train` runs.

    python -m experiments.train emotion --data ravdess:RAVDESS --out runs/emotion

Each corpus becomes a feature set as the job's bundle needs it; the experiment is trained, evaluated
and shipped; and the command that uses the bundle is printed. What was done before is not done again.
"""

import argparse
import importlib
import pathlib
import pkgutil
import sys
from collections.abc import Sequence

import experiments
from data_pipelines import __main__ as preparation
from data_pipelines import corpora
from experiments import _run
from lin_jax import bundles
from lin_jax.apps import train
from lin_jax.errors import ConfigError, exit_code

# Every experiment is a file with a CONFIG; those without are tools.
JOBS = tuple(
    module.name
    for module in pkgutil.iter_modules(experiments.__path__)
    if "\nCONFIG = " in (pathlib.Path(experiments.__path__[0]) / f"{module.name}.py").read_text()
)
USES = {
    "classification": "lin {name} --model {bundle} clip.wav",
    "verification": "lin verify --model {bundle} a.wav b.wav",
    "repair": "lin repair --model {bundle} noisy.wav",
    "synthesis": 'lin speak --model {bundle} "Good morning."',
    "vocoding": "python -m experiments.synthesis --config.vocoder={bundle} …",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args, settings = parse(arguments)
    return exit_code(
        lambda: run(args, settings), interrupted="stopped: run the same command again to go on"
    )


def parse(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, and settings of the experiment (--config.NAME=VALUE)."""
    parser = argparse.ArgumentParser(
        "lin train",
        description="Train a network on your own recordings: prepare, train, evaluate, ship.",
        epilog="--config.NAME=VALUE sets what `python -m experiments.JOB --help` lists. Exit code: 0 "
        "it is trained, 2 something could not be used.",
    )
    parser.add_argument("job", choices=JOBS, help="what is learnt")
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="CORPUS:FOLDER",
        help=f"recordings, and how they lie: {', '.join(corpora.CORPORA)}; a table.csv of your own "
        "is table:FOLDER",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, metavar="FOLDER", help="where everything goes"
    )
    parser.add_argument(
        "--label", metavar="COLUMN", help="of the table, which is learnt in place of the job's own"
    )
    parser.add_argument("--preset", metavar="NAME", help="a recipe of the experiment")
    return parser.parse_known_args(arguments)


def run(args: argparse.Namespace, settings: Sequence[str]) -> int:
    """Prepare, train, evaluate and ship; returns the exit code.

    Raises:
        ConfigError: data that are not CORPUS:FOLDER, or a setting or preset that there is not.
    """
    module = importlib.import_module(f"experiments.{args.job}")
    if problem := _run.unknown_setting(settings, module.CONFIG):  # before work that may be long
        raise ConfigError(problem)
    if args.preset and args.preset not in module.PRESETS:
        raise ConfigError(f"--preset {args.preset}: choose one of {', '.join(module.PRESETS)}")
    name = module.Experiment.NAME
    command = [sys.executable, "-m", module.__name__]
    command += ["--features", prepare(args.data, args.out / "features" / name, name)]
    if hasattr(module.CONFIG, "fused") and (bundles.shipped()[name] / "fused").exists():
        fused = prepare(args.data, args.out / "features" / f"{name}_fused", f"{name}/fused")
        command += [f"--config.fused.features={fused}"]
    command += ["--workdir", str(args.out)]
    command += [f"--config.label={args.label}"] if args.label else []
    command += [f"--preset={args.preset}"] if args.preset else []
    for mode in [()] if args.preset else [("--mode=evaluate",), ("--mode=ship",)]:
        if code := train.call([*command, *mode, *settings]):
            return code
    bundle = args.out / "ship" / name
    use = USES[bundles.describe(bundle)["task"]].format(name=name, bundle=bundle)
    print(f"trained: {bundle}\nuse it: {use}")
    return 0


def prepare(data: Sequence[str], out: pathlib.Path, bundle: str) -> str:
    """Feature sets of corpora as a bundle needs them, with commas between them."""
    folders = []
    for item in data:
        corpus, colon, audio = item.partition(":")
        if not colon or corpus not in corpora.CORPORA:
            known = ", ".join(corpora.CORPORA)
            raise ConfigError(f"--data {item}: give CORPUS:FOLDER, where CORPUS is one of {known}")
        folders.append(out / f"{len(folders)}-{corpus}")
        arguments = [corpus, "--audio-dir", audio, "--out", str(folders[-1]), "--for", bundle]
        if preparation.main(arguments) == 2:
            raise ConfigError(f"--data {item}: nothing could be prepared of it, see above")
    return ",".join(map(str, folders))


if __name__ == "__main__":
    sys.exit(main())
