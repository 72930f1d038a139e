"""The training loop: steps, evaluations, checkpoints and logs.

Their order makes a resumed run equal to an unbroken one.
"""

import collections
import contextlib
import dataclasses
import math
import pathlib
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from lin_jax.compilation import CompilationClock
from lin_jax.errors import ConfigError, TrainingError
from lin_jax.tasks.base import Task, Variables
from lin_jax.training import cost, optim, parallel, writers
from lin_jax.training.checkpoints import Checkpoints
from lin_jax.training.resident import Draws, Resident
from lin_jax.training.state import TrainState, create_state
from lin_jax.training.step import make_train_step


@dataclasses.dataclass
class TrainConfig:
    """How long to train, and what to do on the way.

    Attributes:
        num_steps: updates in the whole run.
        log_every: steps between two reports of the training figures.
        eval_every: steps between two evaluations; there is one after the last step too.
        checkpoint_every: steps between two checkpoints; the best evaluation and the last step save
            one too.
        early_stopping_patience: evaluations without a better `task.monitor` after which to stop; 0
            never stops early.
        steps_per_call: steps in one launch, for steps so short that launching them takes longer;
            the figures are the same. Reports, evaluations and checkpoints that fall due within a
            launch come after it.
        accumulate: parts that a batch is taken in where it is too large for the memory.
        precision: number format that networks compute in, "float32" or "bfloat16".
        profile: steps to write a trace of into the workdir, "FIRST:LAST", for TensorBoard or
            Perfetto; "" traces none.
        seed: of the initial parameters and of everything drawn in the steps.
        parallel: "jit" or "pmap", see `parallel`.
        shard: "data" holds parameters and the state of the optimiser whole on each device; "fsdp"
            splits them over the devices, where they do not fit.
        compile_only: compile the step, print what it costs, and end before it runs.
    """

    num_steps: int = 1000
    log_every: int = 10
    eval_every: int = 100
    checkpoint_every: int = 100
    early_stopping_patience: int = 0
    steps_per_call: int = 1
    accumulate: int = 1
    precision: str = "float32"
    profile: str = ""
    seed: int = 0
    parallel: str = "jit"
    shard: str = "data"
    compile_only: bool = False


@dataclasses.dataclass
class Progress:
    """What the loop itself remembers: plain values, saved with every checkpoint.

    Attributes:
        step: updates made.
        best: figures of the best evaluation so far.
        best_step: its step.
        stale: evaluations since then.
        history: all reports, each {"step": …, "train/loss": …} or {"step": …, "eval/loss": …}.
    """

    step: int = 0
    best: dict[str, float] = dataclasses.field(default_factory=dict)
    best_step: int = 0
    stale: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Result:
    """What a run gives.

    Attributes:
        state: after the last step.
        variables: those of the best evaluation (without evaluations, of the last step): the ones to
            use.
        best: figures of that evaluation.
        best_step: its step.
        history: see `Progress`.
        compile_seconds: until the first step was done, nearly all of it compilation; None if no
            step was left to do.
    """

    state: TrainState
    variables: Variables
    best: dict[str, float]
    best_step: int
    history: list[dict[str, float]]
    compile_seconds: float | None


class Program:
    """What `fit` compiles, once for all trainings that differ in data, seed and constants alone.

    Such are the folds of a cross-validation.

    Args:
        make_task: from constants to the task; traced, so the constants may be arrays.
        config: how long to train; its seed does not matter.
        optim_config: how parameters are updated.
        params: parameters to start from, instead of those drawn.
    """

    def __init__(
        self,
        make_task: Callable[[Any], Task],
        config: TrainConfig,
        optim_config: optim.OptimConfig,
        params: Any = None,
    ):
        _validate(config)
        self.mesh, self._config = parallel.make_mesh(), config
        self._compiled: Any = None
        optimizer = optim.build(optim_config, config.num_steps)

        def create(run):
            constants, key = run
            task = make_task(constants)
            return create_state(task, optimizer, key, optim_config.ema_decay, params)

        def step(state, batch, run):
            constants, key = run
            train_step = make_train_step(
                make_task(constants),
                optimizer,
                ema_decay=optim_config.ema_decay,
                axis_name=parallel.AXIS if config.parallel == "pmap" else None,
                accumulate=config.accumulate,
                precision=config.precision,
            )
            return train_step(state, batch, key)

        def evaluate(run, batch):
            constants, variables = run
            return make_task(constants).evaluate(variables, batch)

        self._create, self._step, self.evaluate = create, step, evaluate

    def compiled(self, run: Any) -> tuple[Any, Any, Any]:
        """The functions of a training.

        Args:
            run: constants and key of the initial parameters, of which shapes and types matter.

        Returns:
            The state as `parallel.abstract_state` has it; run → state; and what
            `parallel.compile_steps` gives, whose key is the constants and the key of the steps.
        """
        if self._compiled is None:
            config = self._config
            target = parallel.abstract_state(self._create, run, self.mesh, config.shard)
            places = jax.tree.map(lambda leaf: leaf.sharding, target)
            create = jax.jit(self._create, out_shardings=places)
            steps = parallel.compile_steps(self._step, self.mesh, config.parallel, places)
            self._compiled = target, create, steps
        return self._compiled


def fit(
    task: Task,
    config: TrainConfig,
    optim_config: optim.OptimConfig,
    train_loader: Iterator | Resident,
    eval_loader: Callable[[], Iterable] | None,
    workdir: str | pathlib.Path,
    writer: writers.Writer | None = None,
    *,
    params: Any = None,
    program: Program | None = None,
    constants: Any = None,
) -> Result:
    """Train a task, or go on where an earlier call with the same `workdir` was stopped.

    Randomness comes from the seed and the step, and a checkpoint holds all that changes, so on CPU
    a run that was killed and called again ends with the same parameters, bit for bit, as one that
    was left alone.

    Args:
        task: what to train.
        config: how long.
        optim_config: how parameters are updated.
        train_loader: endless Grain iterator of training batches, or a corpus to put on the devices.
        eval_loader: makes an iterator over the validation batches, once through; None trains
            without evaluations.
        workdir: folder of the checkpoints and logs.
        writer: of the logs; None writes event files and metrics.jsonl into `workdir`, and to the
            terminal.
        params: parameters that a new run starts from, instead of those drawn.
        program: made of the same settings, for trainings that share what is compiled; None makes
            one for this training.
        constants: those of which `program` makes this task.

    Returns:
        Result.

    Raises:
        TrainingError: the loss or gradient is not finite, or the training data ended.
        ConfigError: settings that cannot work.
        CheckpointError: the checkpoints in `workdir` are of another model, or cannot be written.
        OSError: the logs cannot be written.
        SystemExit: with code 128 + number of the signal, once a checkpoint is saved after Ctrl-C or
            SIGTERM; with code 0 after `compile_only`.
    """
    from clu import parameter_overview

    _validate(config)
    workdir = pathlib.Path(workdir)
    program = program or Program(lambda _: task, config, optim_config, params)
    mesh = program.mesh
    keys = jax.random.split(jax.random.key(config.seed))
    constants, init_key, run_key = parallel.replicate((constants, *keys), mesh)
    run = constants, run_key
    target, create, train_steps = program.compiled((constants, init_key))
    feed = parallel.make_feed(train_loader, mesh, config.num_steps, config.steps_per_call)
    if config.compile_only:
        print(cost.compile_only(train_steps, target, feed.take()[1], run))
        raise SystemExit(0)

    with contextlib.ExitStack() as stack:
        if writer is None:
            writer = stack.enter_context(
                contextlib.closing(writers.create(workdir, config.num_steps))
            )
        checkpoints = stack.enter_context(Checkpoints(workdir / "checkpoints"))
        received = stack.enter_context(_catch_signals())
        profiler = stack.enter_context(_Profiler(config.profile, workdir / "profile"))
        compilation = stack.enter_context(CompilationClock())
        if checkpoints.latest_step is None:
            state, progress = create((constants, init_key)), Progress()
            table = parameter_overview.get_parameter_overview(state.params, include_stats=False)
            writer.write_texts(0, {"parameters": table})
        else:
            state, position, saved = checkpoints.restore(target)
            progress = Progress(**saved)
            feed.seek(position, progress.step)
            writer.write_texts(progress.step, {"resumed": f"resumed from {checkpoints.directory}"})

        meter = _Meter(task, writer, progress, checkpoints, compilation)
        before = progress.step  # the latest call
        while progress.step < config.num_steps and not _stopped_early(progress, config):
            with meter.waiting():
                count, batches = feed.take()
            if meter.is_new(batches):
                trace = train_steps.trace(state, batches, run)
                meter.expect(batches, cost.flops_per_step(trace.jaxpr))
            profiler.before(progress.step, count)
            with (
                jax.profiler.StepTraceAnnotation("train", step_num=progress.step),
                jax.transfer_guard("disallow"),  # what it needs lies on the devices
            ):
                state, sums = train_steps(state, batches, run)
            profiler.after(progress.step + count, sums)
            # The next steps are already on their way: reading the figures of those before does not
            # keep the devices idle.
            if _falls_due(config.log_every, before, progress.step):
                meter.report()
            before, progress.step = progress.step, progress.step + count
            meter.add(sums, batches, count)

            last = progress.step == config.num_steps
            improved = False
            if eval_loader is not None and (
                last or _falls_due(config.eval_every, before, progress.step)
            ):
                meter.report()
                figures = _evaluate(
                    task, program.evaluate, (constants, state.variables), eval_loader()
                )
                improved = _update_progress(progress, figures, task)
                writer.write_scalars(
                    progress.step, {f"eval/{name}": value for name, value in figures.items()}
                )
            # Asked once: a signal during the save is for the next step.
            interrupted = bool(received)
            stopping = last or interrupted or _stopped_early(progress, config)
            if improved or stopping or _falls_due(config.checkpoint_every, before, progress.step):
                meter.report()  # which refuses to go on, and to save, if anything is not finite
                writer.flush()
                checkpoints.save(
                    progress.step,
                    state,
                    feed.position,
                    dataclasses.asdict(progress),
                    progress.best_step,
                )
                meter.restart_clock()
            if interrupted:
                writer.write_texts(
                    progress.step, {"stopped": "stopped; the same command goes on from here"}
                )
                raise SystemExit(128 + received[0])

        meter.summarise()
        variables = state.variables
        if progress.best and progress.best_step != progress.step:
            checkpoints.wait()
            variables = checkpoints.restore(target, progress.best_step)[0].variables
        state, variables = parallel.replicate((state, variables), mesh)  # if they were split
        return Result(
            state,
            variables,
            progress.best,
            progress.best_step,
            progress.history,
            meter.compile_seconds,
        )


def evaluate(task: Task, variables: Variables, loader: Iterable) -> dict[str, float]:
    """Figures of a task over all batches of a loader.

    Args:
        task: what to evaluate.
        variables: of the network, as in `Result.variables`.
        loader: batches, once through.

    Returns:
        What `task.summarise` says.
    """
    return _evaluate(task, task.evaluate, variables, loader)


def _evaluate(task: Task, sums_of: Callable, variables: Any, loader: Iterable) -> dict[str, float]:
    """The same by a function of (variables, batch) to sums."""
    mesh = parallel.make_mesh()
    step = parallel.compile_evaluate(sums_of, mesh)
    sums = jax.device_get([step(variables, parallel.shard_batch(batch, mesh)) for batch in loader])
    if not sums:
        raise ConfigError("the evaluation data is empty: check the split")
    return task.summarise(_add(sums))


class _Meter:
    """Collects the sums of the steps, and what they cost.

    They are reported together, since reading each one would stall the devices.
    """

    def __init__(self, task, writer, progress, checkpoints, compilation):
        self._task, self._writer, self._progress = task, writer, progress
        self._checkpoints, self._compilation = checkpoints, compilation
        self._held, self._flops_of, self._reported = [], {}, 0.0
        self._total = collections.Counter()
        self._peak = cost.peak_flops(jax.local_devices()[0].device_kind)
        self.compile_seconds = None
        self.restart_clock()

    @contextlib.contextmanager
    def waiting(self):
        """Time that passes here is spent on waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def is_new(self, batches):
        """Whether batches of this shape have not been met."""
        return _shape(batches) not in self._flops_of

    def expect(self, batches, flops):
        """Batches of this shape cost so many FLOPs a step."""
        self._flops_of[_shape(batches)] = flops

    def add(self, sums, batches, count):
        """Keep the sums of a call just started; the first one is waited for, since it compiles."""
        self._held.append(sums)
        drawn = isinstance(batches, Draws)
        size = batches.source.sampler.batch_size if drawn else batches["weight"].shape[1]
        self._steps += count
        self._examples += count * size
        self._flops += count * self._flops_of[_shape(batches)]
        if self.compile_seconds is None:
            jax.block_until_ready(sums)
            self.compile_seconds = time.perf_counter() - self._clock
            self.restart_clock()

    def report(self):
        """Write the figures of the steps kept, and forget them.

        Raise TrainingError if any is not finite.
        """
        if not self._held:
            return
        held, self._held = jax.device_get(self._held), []
        step = self._progress.step
        held = jax.tree.map(lambda *parts: np.concatenate(parts), *held)  # [steps, …]
        for past in reversed(range(len(held["steps"]))):
            if not all(np.isfinite(leaf[-1 - past]).all() for leaf in jax.tree.leaves(held)):
                self._refuse(step - past)
        sums = jax.tree.map(lambda values: np.sum(values, axis=0), held)
        figures = self._task.summarise(sums)
        figures |= {
            name: float(sums[name] / sums["steps"]) for name in ("grad_norm", "learning_rate")
        }
        row = {f"train/{name}": value for name, value in figures.items()}
        self._progress.history.append({"step": step, **row})
        self._writer.write_scalars(step, row | self._costs())
        self.restart_clock()

    def restart_clock(self):
        """Measure the speed from here on."""
        self._clock, self._waited = time.perf_counter(), 0.0
        self._steps, self._examples, self._flops = 0, 0, 0.0

    def _costs(self):
        """What the steps since the clock was started cost, and what was compiled."""
        costs = {}
        if self._steps:
            seconds = time.perf_counter() - self._clock
            spent = {
                "seconds": seconds,
                "waited": self._waited,
                "steps": self._steps,
                "examples": self._examples,
                "flops": self._flops,
            }
            self._total.update(spent)
            costs = self._rates(spent)
        if (memory := cost.peak_memory()) is not None:
            costs["cost/peak_memory_bytes"] = memory
        if self._compilation.seconds > self._reported:
            self._reported = costs["cost/compile_seconds"] = self._compilation.seconds
        return costs

    def _rates(self, spent):
        speed = spent["flops"] / spent["seconds"] / jax.device_count()
        mfu = {"cost/mfu": speed / self._peak} if self._peak else {}
        return mfu | {
            "cost/examples_per_second": spent["examples"] / spent["seconds"],
            "cost/step_ms": 1e3 * spent["seconds"] / spent["steps"],
            "cost/data_wait_percent": 100.0 * spent["waited"] / spent["seconds"],
            "cost/flops_per_second_per_device": speed,
        }

    def summarise(self):
        """Tell what the run cost, where steps were made."""
        if not self._total["steps"]:
            return
        rates = {name.removeprefix("cost/"): v for name, v in self._rates(self._total).items()}
        parts = [
            f"{rates['step_ms']:.1f} ms a step",
            f"{rates['examples_per_second']:,.0f} examples/s",
            f"{rates['data_wait_percent']:.0f} % waiting for data",
            f"{rates['flops_per_second_per_device'] / 1e9:,.1f} GFLOP/s a device",
            *([f"MFU {100.0 * rates['mfu']:.1f} %"] if "mfu" in rates else []),
            f"{self._compilation.seconds:.0f} s compiling {self._compilation.programs} programs",
        ]
        if (memory := cost.peak_memory()) is not None:
            parts.append(f"{memory / 1e9:.1f} GB at most")
        self._writer.write_texts(self._progress.step, {"cost": ", ".join(parts)})

    def _refuse(self, step):
        self._checkpoints.wait()
        latest = self._checkpoints.latest_step
        last_good = (
            "there is no checkpoint"
            if latest is None
            else f"last good checkpoint: {self._checkpoints.path(latest)}"
        )
        raise TrainingError(
            f"loss or gradient not finite at step {step}; {last_good}: lower learning_rate or set "
            "clip_norm and go on"
        )


def _add(sums):
    return jax.tree.map(lambda *parts: np.sum(parts, axis=0), *sums)


def _update_progress(progress, figures, task):
    """Record an evaluation; True if it is the best so far."""
    progress.history.append(
        {"step": progress.step} | {f"eval/{name}": value for name, value in figures.items()}
    )
    sign = 1.0 if task.monitor_mode == "max" else -1.0
    best = sign * progress.best.get(task.monitor, math.nan)
    improved = math.isnan(best) or sign * figures[task.monitor] > best
    if improved:
        progress.best, progress.best_step, progress.stale = figures, progress.step, 0
    else:
        progress.stale += 1
    return improved


def _shape(batches):
    leaves, structure = jax.tree.flatten(batches)
    return structure, tuple(leaf.shape for leaf in leaves)


class _Profiler:
    """Writes a trace of some steps, those of the calls that they fall into."""

    def __init__(self, steps, folder):
        match = re.fullmatch(r"(\d+):(\d+)", steps or "0:0")
        if match is None or int(match[1]) > int(match[2]):
            raise ConfigError(f"profile {steps!r} is no range of steps: try 10:13")
        self._first, self._last = map(int, match.groups())
        self._folder, self._running = folder, False

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._running:
            jax.profiler.stop_trace()

    def before(self, step, count):
        """Called before the call that makes `count` steps after `step`."""
        if not self._running and step < self._first <= step + count:
            jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self, step, results):
        """Called after it, when `step` steps were made."""
        if self._running and step >= self._last:
            jax.block_until_ready(results)
            jax.profiler.stop_trace()
            self._running = False


def _falls_due(every, before, step):
    """Whether a multiple of `every` is among the steps after `before` up to `step`."""
    return step // every > before // every


def _stopped_early(progress, config):
    return 0 < config.early_stopping_patience <= progress.stale


@contextlib.contextmanager
def _catch_signals():
    """Collect Ctrl-C and SIGTERM instead of dying of them; the second one has its usual effect."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python delivers signals to the main thread only
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore():
        for number, handler in usual.items():
            signal.signal(number, handler)

    def receive(number, frame):
        del frame
        received.append(number)
        restore()

    for number in usual:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        restore()


def _validate(config):
    for name in (
        "num_steps",
        "log_every",
        "eval_every",
        "checkpoint_every",
        "steps_per_call",
        "accumulate",
    ):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}: choose at least 1")
