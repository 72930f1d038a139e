"""Figures of speed, each against a stated reference in the same run.

python -m experiments.benchmark prepare --audio-dir FOLDER    RAVDESS to features against a loop of librosa: ≥ 3x
python -m experiments.benchmark loop --features FOLDER        training against its bare jitted step: ≤ 5 % overhead
python -m experiments.benchmark synthesis [--torch PYTHON]    a synthesizer's training step against the same in PyTorch
"""

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lin_jax.errors import ConfigError, exit_code

LIBROSA = """
import sys, librosa
for path in sys.stdin.read().splitlines():
    samples, rate = librosa.load(path, sr=16000)
    librosa.feature.mfcc(y=samples, sr=rate)
"""


def prepare_speed(audio_dir: str | Path) -> dict[str, float]:
    """Time `python -m data_pipelines ravdess`, from its start to its end, against a one-process loop of librosa.

    Args:
        audio_dir: a RAVDESS folder.

    Returns:
        clips, seconds of either process and how many times faster ours is; start-up is counted on
        both sides.
    """
    from lin_jax.audio import files

    paths = files.find(audio_dir)
    for path in paths:  # both sides read from the page cache
        path.read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        options = [
            "--audio-dir",
            str(audio_dir),
            "--out",
            f"{scratch}/features",
            "--frontend.feature=mfcc",
        ]
        seconds = {
            "librosa_seconds": _timed([sys.executable, "-c", LIBROSA], "\n".join(map(str, paths))),
            "prepare_seconds": _timed(
                [sys.executable, "-m", "data_pipelines", "ravdess", *options]
            ),
        }
    ratio = seconds["librosa_seconds"] / seconds["prepare_seconds"]
    return {
        "clips": len(paths),
        "cores": len(os.sched_getaffinity(0)),
        **seconds,
        "times_faster": ratio,
    }


def loop_overhead(
    features: str | Path,
    *,
    num_steps: int = 80,
    batch_size: int = 32,
    resident: str = "never",
    steps_per_call: int = 1,
) -> dict[str, float]:
    """Time `loop.fit`, with its loader and logs, against the bare step on a batch that is on the device.

    The two take turns, ten steps each, so that both see the same machine however busy it is; the
    overhead is the median over the loop's turns, each against the bare turns before and after it.
    Compilation counts on neither side, and neither do evaluations and checkpoints, which come as
    often as one likes.

    Args:
        features: a feature set of any corpus; its speakers are the classes.
        num_steps: steps of the loop.
        batch_size: clips in a batch.
        resident: "always" has them on the devices, "never" streams them, as in `LoaderConfig`.
        steps_per_call: of the loop, in one launch.

    Returns:
        seconds a step and clips a second of either side, and the overhead in percent.
    """
    import jax
    import numpy as np

    from data_pipelines import feature_set, loaders
    from lin_jax.models.residual_classifier import ResidualClassifier
    from lin_jax.tasks.classification import Classification
    from lin_jax.training import loop, optim, parallel, state, step, writers

    clips = feature_set.open_features(features)
    labels, names = clips.labels("speaker")
    task = Classification(ResidualClassifier(len(names)), names, clips.frontend, *clips.mean_std())
    make_loader = functools.partial(
        loaders.make_loader,
        clips,
        np.arange(len(clips)),
        labels,
        train=True,
    )
    streamed, chosen = (
        loaders.LoaderConfig(batch_size=batch_size, resident=where) for where in ("never", resident)
    )
    optimizer, key, mesh = (
        optim.build(optim.OptimConfig(), num_steps),
        jax.random.key(0),
        parallel.make_mesh(),
    )
    train_steps = parallel.compile_steps(step.make_train_step(task, optimizer), mesh)
    batch = parallel.shard_batches([next(make_loader(streamed))], mesh)
    bare, looped = [], []

    class Turns(writers.Writer):
        """Lets the bare step have its turn whenever the loop reports some steps."""

        def __init__(self):
            create = functools.partial(state.create_state, task, optimizer)
            self.state, _ = train_steps(parallel.init_state(create, key, mesh), batch, key)
            self.step = 0

        def write_scalars(self, step, scalars):
            if "train/loss" not in scalars:
                return
            jax.block_until_ready(
                jax.live_arrays()
            )  # the loop's step in flight belongs to its turn
            start = time.perf_counter()
            if self.step:  # the first turn compiled
                looped.append((start - self.end) / (step - self.step))
            self.step = step
            for _ in range(10):
                self.state, _ = train_steps(self.state, batch, key)
            jax.block_until_ready(self.state)
            self.end = time.perf_counter()
            bare.append((self.end - start) / 10)

    config = loop.TrainConfig(
        num_steps, log_every=10, checkpoint_every=num_steps, steps_per_call=steps_per_call
    )
    with tempfile.TemporaryDirectory() as workdir:
        writer = writers.MultiWriter(writers.create(workdir, num_steps), Turns())
        loop.fit(task, config, optim.OptimConfig(), make_loader(chosen), None, workdir, writer)
        writer.close()
    around = (np.array(bare[:-1]) + np.array(bare[1:])) / 2.0
    overhead = 100.0 * (np.median(looped / around) - 1.0)
    return {
        "bare_seconds": np.median(bare),
        "loop_seconds": np.median(looped),
        "bare_clips_per_second": batch_size / np.median(bare),
        "loop_clips_per_second": batch_size / np.median(looped),
        "overhead_percent": overhead,
    }


def synthesis_step(torch_python: str = sys.executable, *, steps: int = 12) -> dict[str, float]:
    """Time the training step of the synthesizer that ships, and of the same network in PyTorch, on one random batch.

    Ours, theirs, and ours again, so that a machine that changed its pace is seen; the first two
    steps of each count as its start.

    Args:
        torch_python: an interpreter that has PyTorch.
        steps: of each.

    Returns:
        seconds until the first step is done and seconds a step of either, and how many times faster
        ours is.
    """
    import jax
    import numpy as np

    from experiments import conversion
    from lin_jax.audio.frontend import FrontendConfig
    from lin_jax.models import attention, registry
    from lin_jax.tasks.synthesis import Synthesis
    from lin_jax.training import optim, parallel, state, step

    B, L, T, E = 32, 64, 160, 576
    frontend = FrontendConfig(n_mels=80)
    M = frontend.num_features
    sizes = dataclasses.asdict(conversion.CONFIG.network) | {"num_symbols": 60, "reduction": 4}
    network = registry.build(
        conversion.CONFIG.network, num_mels=M, num_symbols=60, reduction=4, max_reduction=4
    )
    task = Synthesis(network, frontend, np.zeros(M), np.ones(M), voice_size=E)
    optimizer, mesh = (
        optim.build(conversion.CONFIG.optim, conversion.CONFIG.train.num_steps),
        parallel.make_mesh(),
    )
    rng = np.random.default_rng(0)
    batch = {
        "features": rng.normal(size=(B, T, M)).astype(np.float32),
        "num_frames": np.full(B, T, np.int32),
        "symbols": rng.integers(2, 60, (B, L)).astype(np.int32),
        "num_symbols": np.full(B, L, np.int32),
        "voice": rng.normal(size=(B, E)).astype(np.float32),
        "weight": np.ones(B, np.float32),
    }
    batch, key = parallel.shard_batches([batch], mesh), jax.random.key(0)

    def ours():
        train_steps = parallel.compile_steps(step.make_train_step(task, optimizer), mesh)
        current = parallel.init_state(
            functools.partial(state.create_state, task, optimizer), key, mesh
        )
        for _ in range(steps):
            start = time.perf_counter()
            current, sums = train_steps(current, batch, key)
            jax.block_until_ready((current, sums))
            yield time.perf_counter() - start

    def theirs():
        prior = attention.forward_filter(attention.DynamicConvolutionAttention.taps).tolist()
        given = {
            "network": sizes,
            "batch": {"B": B, "L": L, "T": T, "M": M, "E": E},
            "prior": prior,
            "steps": steps,
        }
        script = Path(__file__).with_name("_torch_synthesizer.py")
        done = subprocess.run(
            [torch_python, str(script)],
            input=json.dumps(given),
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ConfigError(
                f"{torch_python}: {last}; name an interpreter that has PyTorch with --torch"
            )
        return map(float, done.stdout.split())

    first, other, second = (list(run()) for run in (ours, theirs, ours))
    seconds = {"ours": first[2:] + second[2:], "torch": other[2:]}
    results = {f"{name}_seconds": float(np.median(values)) for name, values in seconds.items()}
    results["ours_first_seconds"], results["torch_first_seconds"] = first[0], other[0]
    return results | {"times_faster": results["torch_seconds"] / results["ours_seconds"]}


def _timed(command: list[str], given: str = "") -> float:
    start = time.perf_counter()
    subprocess.run(
        command,
        input=given,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def main() -> int:
    """Run one benchmark and print its figures; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m experiments.benchmark", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(required=True)
    prepare = commands.add_parser(
        "prepare", help="features of a RAVDESS folder against a loop of librosa"
    )
    prepare.add_argument("--audio-dir", type=Path, required=True)
    prepare.set_defaults(run=lambda args: prepare_speed(args.audio_dir))
    overhead = commands.add_parser("loop", help="the training loop against its bare step")
    overhead.add_argument("--features", type=Path, required=True)
    overhead.add_argument("--batch-size", type=int, default=32)
    overhead.add_argument("--resident", choices=("always", "never"), default="never")
    overhead.add_argument("--steps-per-call", type=int, default=1)
    overhead.add_argument("--num-steps", type=int, default=80)
    overhead.set_defaults(
        run=lambda args: loop_overhead(
            args.features,
            num_steps=args.num_steps,
            batch_size=args.batch_size,
            resident=args.resident,
            steps_per_call=args.steps_per_call,
        )
    )
    speaking = commands.add_parser(
        "synthesis", help="a synthesizer's training step against the same in PyTorch"
    )
    speaking.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="an interpreter that has PyTorch"
    )
    speaking.set_defaults(run=lambda args: synthesis_step(args.torch))
    args = parser.parse_args()

    def work():
        for name, value in args.run(args).items():
            print(f"{name:20} {value:.3f}" if isinstance(value, float) else f"{name:20} {value}")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
