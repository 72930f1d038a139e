"""Figures of speed, each beside its peers in the same run: a table on the terminal, and JSON lines.

    python -m experiments.benchmark --what=all --torch PYTHON --peer PYTHON --out runs/benchmark.jsonl
    make device-bench            what a GPU should tell, in at most eight minutes

It makes its own recordings and features unless it is given some. `--torch` names an interpreter
with PyTorch, in an environment of its own; `experiments/peers` are the same networks in it. `--peer`
names others, for torchaudio, Resemblyzer, DeepFilterNet 3 and RNNoise; those that no interpreter has
are named and left out. Ours is timed before its peers and after them, compiled ahead of both, and
waited for.
"""

import argparse
import contextlib
import copy
import dataclasses
import functools
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments import _peers
from lin_jax import memory
from lin_jax.errors import ConfigError, exit_code

RATE = 16000
BANDS = {"n_fft": 512, "win_length": 512, "hop_length": 256}  # of the features that are trained on
LIBROSA = """
import sys, librosa
for path in sys.stdin.read().splitlines():
    samples, rate = librosa.load(path, sr=16000)
    librosa.feature.mfcc(y=samples, sr=rate)
"""


@dataclasses.dataclass
class Figure:
    """A measurement.

    Attributes:
        what: was measured, such as "train".
        name: in which way.
        seconds: of a call, in each repeat.
        amount: of what a call makes.
        unit: of the amount.
        first_seconds: of the first call less a later one: compilation, nearly all of it.
        flops: of a call.
        ours: what it is a peer of.
        config: sizes.
    """

    what: str
    name: str
    seconds: list[float]
    amount: float = 1.0
    unit: str = "calls"
    first_seconds: float = 0.0
    flops: float = 0.0
    ours: "Figure | None" = None
    config: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.first_seconds = max(0.0, self.first_seconds - min(self.seconds, default=0.0))

    @property
    def per_second(self) -> float:
        """How much is made in a second, by the median of the repeats."""
        return self.amount / float(np.median(self.seconds))

    @property
    def spread(self) -> float:
        """Quartile range of the repeats, as a share of their median."""
        low, middle, high = np.percentile(self.seconds, [25, 50, 75])
        return float((high - low) / middle)

    def row(self) -> dict[str, Any]:
        """What JSON has of it."""
        from lin_jax.training import cost

        row = {name: getattr(self, name) for name in ("what", "name", "amount", "unit", "config")}
        speed = self.flops / float(np.median(self.seconds))
        peak = cost.peak_flops(_device())
        return row | {
            "milliseconds": 1e3 * float(np.median(self.seconds)),
            "spread": self.spread,
            "repeats": len(self.seconds),
            "per_second": self.per_second,
            "compile_seconds": self.first_seconds,
            "flops_per_second": speed or None,
            "mfu": speed / peak if peak and speed else None,
            "ours_is_times_as_fast": self.ours and self.ours.per_second / self.per_second,
        }

    def line(self) -> str:
        """A line of the table."""
        row = self.row()
        ratio = row["ours_is_times_as_fast"]
        return (
            f"{self.what:9} {self.name:40} {row['milliseconds']:10.2f} ms ±{self.spread:4.0%} "
            f"{self.per_second:12,.1f} {self.unit + '/s':16} {self.first_seconds:5.1f} s"
            + (f"  MFU {row['mfu']:.1%}" if row["mfu"] else "")
            + (f"  ours {ratio:.2f}×" if ratio else "")
        )


@dataclasses.dataclass(frozen=True)
class Bench:
    """How is measured.

    Attributes:
        torch: an interpreter with PyTorch; "" has no peers in it.
        repeats: of each measurement.
        tiny: whether sizes are those of a test.
        audio_dir: recordings, with a folder for each speaker; made when "".
        features: a feature set; made when "".
        peers: further interpreters, of which each peer takes the first that has it.
    """

    torch: str = ""
    repeats: int = 5
    tiny: bool = False
    audio_dir: str = ""
    features: str = ""
    peers: tuple[str, ...] = ()

    def size(self, usual: int, tiny: int) -> int:
        """A size, or that of a test."""
        return tiny if self.tiny else usual

    @property
    def seconds(self) -> float:
        """Of a repeat, at least; a call that takes longer is a repeat."""
        return 0.0 if self.tiny else 0.2

    def time(self, what: str, name: str, call: Callable, **more) -> Figure:
        """Time a call: the first apart, then as many as fill each repeat."""
        import jax

        def timed(calls):
            start = time.perf_counter()
            results = [call() for _ in range(calls)][-1]
            jax.block_until_ready(results)
            return (time.perf_counter() - start) / calls

        first = timed(1)
        calls = max(1, round(self.seconds / timed(1)))
        seconds = [timed(calls) for _ in range(self.repeats)]
        return Figure(what, name, seconds, first_seconds=first, **more)

    def compare(
        self,
        what: str,
        name: str,
        call: Callable,
        peer: str,
        sizes: dict[str, Any],
        *,
        ways: tuple[str, ...] = ("eager", "compiled"),
        config: dict[str, Any] | None = None,
        **more,
    ) -> Iterator[Figure]:
        """Time a call before and after a peer, a script of `experiments/peers` that is given sizes."""
        config = sizes if config is None else config
        ours = self.time(what, name, call, config=config, **more)
        more.pop("flops", None)
        peers = []
        if self.torch:
            seconds, options = self.seconds, {"ways": ways, "repeats": self.repeats}
            for row in self._peer(peer, sizes | options | {"seconds": seconds}):
                times, first = row["seconds"], row["first"]
                title = f"{name}: PyTorch, {row['way']}"
                more |= {"first_seconds": first, "ours": ours, "config": config}
                peers.append(Figure(what, title, times, **more))
            ours.seconds += self.time(what, name, call).seconds
        yield ours
        yield from peers

    def beside(
        self, ours: Figure, peer: str, script: str, given: dict[str, Any]
    ) -> Iterator[Figure]:
        """A peer that need not be installed, beside what it is a peer of; else a line says why not."""
        reasons = []
        for python in filter(None, dict.fromkeys((*self.peers, self.torch))):
            options = {"repeats": self.repeats, "seconds": self.seconds}
            try:
                (row,) = _peers.run(python, script, given | options)
            except ConfigError as error:
                reasons.append(str(error))
                continue
            more = {name: getattr(ours, name) for name in ("amount", "unit", "config")}
            more["first_seconds"] = row.get("first", 0.0)
            yield Figure(ours.what, f"{ours.name}: {peer}", row["seconds"], ours=ours, **more)
            return
        print(f"{peer} is left out: {'; '.join(reasons) or 'no --peer'}", file=sys.stderr)

    def _peer(self, script: str, sizes: dict[str, Any]) -> list[dict]:
        return _peers.run(self.torch, script, sizes, flag="--torch")

    @contextlib.contextmanager
    def recordings(self) -> Iterator[str]:
        """A folder of recordings, with a folder for each speaker."""
        import soundfile

        if self.audio_dir:
            yield self.audio_dir
            return
        with tempfile.TemporaryDirectory() as folder:
            for number in range(self.size(240, 8)):
                path = Path(folder, f"speaker{number % 4}", f"{number}.wav")
                path.parent.mkdir(exist_ok=True)
                soundfile.write(path, buzz(3.5, 48000, seed=number), 48000)
            yield folder

    @contextlib.contextmanager
    def feature_set(self) -> Iterator[Any]:
        """An open feature set of log-mel frames."""
        from data_pipelines import corpora, features
        from lin_jax.audio.frontend_config import FrontendConfig

        with contextlib.ExitStack() as stack:
            folder = self.features
            if not folder:
                audio_dir = stack.enter_context(self.recordings())
                folder = f"{stack.enter_context(tempfile.TemporaryDirectory())}/features"
                frontend = FrontendConfig(**BANDS)
                utterances = corpora.load("folder", Path(audio_dir))
                features.prepare(utterances, folder, frontend, progress=False)
            yield features.open_features(folder)


def buzz(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Something like a voice: syllables of harmonics, with a little noise."""
    rng, t = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    harmonics = rng.uniform(90, 220) * np.arange(1, 20)
    voice = np.sin(2 * np.pi * harmonics[:, None] * t + rng.uniform(0, 6, (19, 1))).sum(axis=0)
    syllables = np.sin(2 * np.pi * 2 * t) ** 2
    return (0.02 * voice * syllables + 1e-4 * rng.standard_normal(len(t))).astype(np.float32)


def frontend(bench: Bench) -> Iterator[Figure]:
    """Features of waveforms on the device, 64 clips of 4 s."""
    import jax

    from lin_jax.audio.frontend import extract, mel_filter_bank
    from lin_jax.audio.frontend_config import FrontendConfig

    B, seconds = bench.size(64, 2), bench.size(4, 1)
    clips = np.stack([buzz(seconds, RATE, seed) for seed in range(B)])
    x, amount = jax.device_put(clips), {"amount": B * seconds, "unit": "s of sound"}
    for feature in ("log_mel", "mfcc", "functionals"):
        config = FrontendConfig(feature=feature, **BANDS)
        call = functools.partial(jax.jit(functools.partial(extract, config)), x)
        if feature != "log_mel":
            yield bench.time("frontend", feature, call, **amount)
            continue
        bank = mel_filter_bank(RATE, 512, config.n_mels, config.f_min, config.f_max)
        sizes = {"B": B, "N": x.shape[1]} | BANDS
        given, more = sizes | {"bank": np.asarray(bank).tolist()}, {"config": sizes} | amount
        ours, *peers = bench.compare("frontend", feature, call, "frontend", given, **more)
        yield from (ours, *peers)
        sizes |= {"sample_rate": RATE, "n_mels": config.n_mels}
        yield from bench.beside(ours, "torchaudio", "frontend_torchaudio", sizes)
        with contextlib.suppress(ImportError):
            import librosa

            def by_librosa(config=config):
                for clip in clips:
                    power = librosa.feature.melspectrogram(
                        y=clip, sr=RATE, n_fft=512, hop_length=256, n_mels=config.n_mels
                    )
                    librosa.power_to_db(power)

            yield bench.time("frontend", "log_mel: librosa", by_librosa, ours=ours, **more)


def prepare(bench: Bench) -> Iterator[Figure]:
    """`python -m data_pipelines`, from its start to its end, against one process of librosa."""
    from lin_jax.audio import files

    with bench.recordings() as folder, tempfile.TemporaryDirectory() as scratch:
        paths = files.find(folder)
        for path in paths:  # both sides read from the page cache
            path.read_bytes()

        def ours(number):
            options = ["--audio-dir", folder, "--out", f"{scratch}/{number}"]
            command = [sys.executable, "-m", "data_pipelines", "folder", *options]
            return _timed([*command, "--frontend.feature=mfcc"])

        def theirs(_):
            return _timed([sys.executable, "-c", LIBROSA], "\n".join(map(str, paths)))

        repeats = range(1 if bench.tiny else bench.repeats)
        seconds = [(ours(number), theirs(number)) for number in repeats]
    mine, other = (list(times) for times in zip(*seconds, strict=True))
    amount = {"amount": len(paths), "unit": "recordings"}
    figure = Figure("prepare", "mfcc by the command line", mine, **amount)
    yield figure
    yield Figure("prepare", "mfcc: a loop of librosa", other, ours=figure, **amount)


def loader(bench: Bench) -> Iterator[Figure]:
    """Clips a second of the streaming loader, all cropped to 2 s."""
    from data_pipelines import loaders

    B, T = bench.size(32, 4), 125
    with bench.feature_set() as clips, tempfile.TemporaryDirectory() as folder:
        count = len(clips) // B
        for number, clip in enumerate(clips.read(range(len(clips)))):
            np.save(f"{folder}/{number:05d}.npy", clip["features"])
        config = loaders.LoaderConfig(batch_size=B, crop_seconds=2.0, resident="never")
        indices = np.arange(len(clips))
        stream = loaders.make_loader(clips, indices, None, config, train=True)

        def epoch():
            for _ in range(count):
                next(stream)

        more = {"amount": count * B, "unit": "clips", "config": {"B": B, "T": T}}
        given = {"folder": folder, "B": B, "T": T}
        yield from bench.compare("loader", "streamed", epoch, "loader", given, **more)
        stream.close()


@dataclasses.dataclass(frozen=True)
class Job:
    """A training.

    Attributes:
        recipe: the task that ships, with a batch for it.
        plain: the same network without augmentation, with a batch of features.
        peer: in PyTorch.
        sizes: of the network for the peer.
        amount: of what a step of a batch of one takes.
        unit: of the amount.
    """

    recipe: tuple[Any, dict]
    plain: tuple[Any, dict]
    peer: str
    sizes: dict[str, Any]
    amount: float = 1.0
    unit: str = "clips"


def jobs(bench: Bench) -> Iterator[tuple[str, Job]]:
    """The five jobs, as their experiments have them."""
    from data_pipelines.corpora import NO_SPEECH, SEXES
    from experiments import emotion, gender, repair, synthesis, verification
    from lin_jax.audio.augment import AugmentConfig
    from lin_jax.audio.degrade import NoisePool
    from lin_jax.audio.frontend_config import FrontendConfig
    from lin_jax.models import registry
    from lin_jax.tasks.acoustic import AcousticSynthesis
    from lin_jax.tasks.classification import Classification, ClassificationConfig
    from lin_jax.tasks.repair import Repair
    from lin_jax.tasks.verification import Verification, VerificationConfig

    bands = FrontendConfig(**BANDS)
    statistics = np.zeros(64, np.float32), np.ones(64, np.float32)
    rng = np.random.default_rng(0)

    def features(B, T, **more):
        frames = rng.normal(size=(B, T, 64)).astype(np.float32)
        return {"features": frames, "num_frames": np.full(B, T, np.int32)} | _columns(B, **more)

    def waveforms(B, seconds, **more):
        clips = np.stack([buzz(seconds, RATE, seed) for seed in range(B)])
        return {"waveform": clips, "length": np.full(B, clips.shape[1], np.int32)} | _columns(
            B, **more
        )

    classes = {"emotion": (emotion, tuple("abcdefgh")), "gender": (gender, (*SEXES, NO_SPEECH))}
    for name, (module, labels) in classes.items():
        config, C = module.CONFIG, len(labels)
        B, T = bench.size(config.loader.batch_size, 4), bench.size(156, 32)
        label = np.arange(B, dtype=np.int32) % C
        network = registry.build(config.network, num_classes=C)
        build = functools.partial(Classification, network, labels, bands, *statistics)
        recipe = features(B, T, label=label)
        if name == "gender":
            recipe = waveforms(B, bench.size(5, 1) / 2, label=label)
        yield (
            name,
            Job(
                (build(config.task, config.augment), recipe),
                (build(ClassificationConfig(), AugmentConfig()), features(B, T, label=label)),
                "classification",
                {"B": B, "T": T, "D": 64, "C": C, "network": dataclasses.asdict(config.network)},
            ),
        )

    config, S = verification.CONFIG, 200
    B, T = bench.size(config.loader.batch_size, 4), bench.size(125, 32)
    label = np.arange(B, dtype=np.int32) // 2 % S
    network = registry.build(config.network)
    build = functools.partial(Verification, network, S, bands, *statistics)
    yield (
        "verification",
        Job(
            (
                build(config.task, config.augment),
                waveforms(B, bench.size(4, 1) / 2, label=label),
            ),
            (build(VerificationConfig(), AugmentConfig()), features(B, T, label=label)),
            "verification",
            {"B": B, "T": T, "D": 64, "S": S, "network": dataclasses.asdict(config.network)},
        ),
    )

    class Plain(Repair):
        """Repair of what is damaged already."""

        def _pair(self, key, batch):
            return batch["damaged"], batch["waveform"]

    config = repair.CONFIG
    B = bench.size(config.loader.batch_size, 2)
    network = registry.build(config.network, sample_rate=RATE)
    batch = waveforms(B, bench.size(2, 1))
    N = batch["waveform"].shape[1]
    noises = NoisePool.of(list(0.01 * rng.normal(size=(8, N))))
    damaged = batch["waveform"] + 0.01 * rng.normal(size=(B, N)).astype(np.float32)
    yield (
        "repair",
        Job(
            (Repair(network, RATE, noises, config.task, config.degrade), batch),
            (Plain(network, RATE), batch | {"damaged": damaged}),
            "repair",
            {
                "B": B,
                "N": N,
                "bands": network.bands,
                "network": dataclasses.asdict(config.network),
            },
        ),
    )

    config, M, E, V = synthesis.CONFIG, 80, 576, 60
    B, L, T = bench.size(config.loader.batch_size, 2), bench.size(64, 4), bench.size(320, 16)
    network = registry.build(config.network, num_mels=M, num_symbols=V)
    speech = FrontendConfig(n_mels=M, **BANDS)
    task = AcousticSynthesis(network, speech, np.zeros(M), np.ones(M), E, config.task)
    batch = _columns(B) | {
        "symbols": rng.integers(2, V, (B, L)).astype(np.int32),
        "num_symbols": np.full(B, L, np.int32),
        "voice": rng.normal(size=(B, E)).astype(np.float32),
        "durations": np.full((B, L), T // L, np.int32),
        "pitch": np.zeros((B, L), np.float32),
        "voicing": np.ones((B, L), np.float32),
        "features": rng.normal(size=(B, T, M)).astype(np.float32),
        "num_frames": np.full(B, T, np.int32),
    }
    sizes = {"B": B, "L": L, "T": T, "M": M, "E": E, "V": V}
    sizes["network"] = dataclasses.asdict(config.network)
    # Its peer speaks texts alone.
    plain = dataclasses.replace(task, model=network.clone(content_dilations=()))
    yield (
        "synthesis",
        Job((task, batch), (plain, batch), "synthesis", sizes, amount=T, unit="frames"),
    )


def _columns(B, **more):
    """What every batch has."""
    return more | {"weight": np.ones(B, np.float32), "index": np.arange(B, dtype=np.int32)}


def stepping(task: Any, batch: dict) -> tuple[Callable, float]:
    """A call that makes a training step on a batch on the devices, and its FLOPs."""
    import jax

    from lin_jax.training import cost, optim, parallel, state, step

    settings = optim.OptimConfig(schedule="constant", weight_decay=0.01, clip_norm=1.0)
    optimizer, mesh, key = optim.build(settings, 1), parallel.make_mesh(), jax.random.key(0)
    train_steps = parallel.compile_steps(step.make_train_step(task, optimizer), mesh)
    create = functools.partial(state.create_state, task, optimizer)
    current = parallel.init_state(create, key, mesh)
    batches = parallel.shard_batches([batch], mesh)
    flops = cost.flops_per_step(train_steps.trace(current, batches, key).jaxpr)

    def call():
        nonlocal current
        current, sums = train_steps(current, batches, key)
        return sums

    return call, flops


def train(bench: Bench) -> Iterator[Figure]:
    """A training step of each job: its recipe, on an accelerator at 8 times its batch too; and the
    network alone, beside the same in PyTorch.
    """
    import jax

    for name, job in jobs(bench):
        B = len(job.recipe[1]["weight"])
        for times in (1,) if jax.default_backend() == "cpu" else (1, 8):
            task, batch = job.recipe
            batch = {key: np.concatenate([value] * times) for key, value in batch.items()}
            call, flops = stepping(task, batch)
            amount = {"amount": times * B * job.amount, "unit": job.unit}
            title = f"{name}, recipe, batch {times * B}"
            yield bench.time("train", title, call, flops=flops, config={"B": times * B}, **amount)
        call, flops = stepping(*job.plain)
        amount = {"amount": B * job.amount, "unit": job.unit}
        title = f"{name}, network, batch {B}"
        yield from bench.compare("train", title, call, job.peer, job.sizes, flops=flops, **amount)


def lstm(bench: Bench) -> Iterator[Figure]:
    """A gradient through one LSTM layer, 64 × 400 × 512: ours, that of Flax, and PyTorch's."""
    import jax
    import jax.numpy as jnp
    from flax import linen as nn

    from lin_jax.models.layers import FusedLSTM

    B, T, H = bench.size(64, 2), bench.size(400, 6), bench.size(512, 8)
    x, length = jnp.ones((B, T, H)), jnp.full(B, T)
    fused, plain = FusedLSTM(H), nn.RNN(nn.OptimizedLSTMCell(H))
    calls = []
    for layer, inputs in ((fused, (x, length)), (plain, (x,))):
        variables = layer.init(jax.random.key(0), *inputs)
        gradient = jax.jit(
            jax.grad(lambda v, layer, *x: layer.apply(v, *x).sum()), static_argnums=1
        )
        calls.append(functools.partial(gradient, variables, layer, *inputs))
    amount, sizes = {"amount": B * T, "unit": "frames"}, {"B": B, "T": T, "H": H}
    ours, *peers = bench.compare("lstm", "FusedLSTM", calls[0], "lstm", sizes, **amount)
    yield from (ours, *peers)
    yield bench.time("lstm", "FusedLSTM: nn.RNN", calls[1], ours=ours, config=sizes, **amount)


def resident(bench: Bench) -> Iterator[Figure]:
    """The training loop against its bare step: streamed, on the devices, several steps a launch."""
    with bench.feature_set() as clips:
        for where, steps in (("never", 1), ("always", 1), ("always", 8)):
            yield from loop(bench, clips, where, steps)


def loop(bench: Bench, clips: Any, where: str, steps_per_call: int) -> Iterator[Figure]:
    """`loop.fit` with its loader and logs, and the bare step on a batch that lies on the device.

    The two take turns, ten steps each, so that both see the same machine however busy it is.
    Compilation counts on neither side, and neither do evaluations and checkpoints, which come as
    often as one likes.

    Args:
        bench: how is measured.
        clips: a feature set; its speakers are the classes.
        where: `LoaderConfig.resident`.
        steps_per_call: of the loop, in one launch.
    """
    import jax

    from data_pipelines import loaders
    from lin_jax.models.residual_classifier import ResidualClassifier
    from lin_jax.tasks.classification import Classification
    from lin_jax.training import loop, optim, writers

    B, turn = bench.size(32, 4), max(steps_per_call, bench.size(10, 2))
    labels, names = clips.labels("speaker")
    task = Classification(ResidualClassifier(len(names)), names, clips.frontend, *clips.mean_std())
    streamed, chosen = (
        loaders.make_loader(
            clips,
            np.arange(len(clips)),
            labels,
            loaders.LoaderConfig(batch_size=B, resident=resident),
            train=True,
        )
        for resident in ("never", where)
    )
    call, flops = stepping(task, next(streamed))
    streamed.close()
    bare, looped = [], []

    class Turns(writers.Writer):
        """Lets the bare step have its turn whenever the loop reports some steps."""

        step, end = 0, 0.0

        def write_scalars(self, step, scalars):
            if "train/loss" not in scalars:
                return
            # The step in flight belongs to the loop's turn.
            jax.block_until_ready(jax.live_arrays())
            start = time.perf_counter()
            if self.step:  # the first turn compiled
                looped.append((start - self.end) / (step - self.step))
            self.step = step
            for _ in range(turn):
                sums = call()
            jax.block_until_ready(sums)
            self.end = time.perf_counter()
            bare.append((self.end - start) / turn)

    jax.block_until_ready(call())
    num_steps = (bench.repeats + 2) * turn
    config = loop.TrainConfig(
        num_steps, log_every=turn, checkpoint_every=num_steps, steps_per_call=steps_per_call
    )
    with tempfile.TemporaryDirectory() as workdir, contextlib.redirect_stdout(sys.stderr):
        result = loop.fit(task, config, optim.OptimConfig(), chosen, None, workdir, Turns())
    more = {"amount": B, "unit": "clips", "flops": flops}
    more["config"] = {"B": B, "resident": where, "steps_per_call": steps_per_call}
    title = f"{'resident' if where == 'always' else 'streamed'}, {steps_per_call} steps a call"
    ours = Figure("loop", title, looped, first_seconds=result.compile_seconds or 0.0, **more)
    yield ours
    yield Figure("loop", f"{title}: the step alone", bare, ours=ours, **more)


def infer(bench: Bench) -> Iterator[Figure]:
    """The bundles that ship, on a recording of 4 s and one of 60 s."""
    import lin_jax

    for seconds in (bench.size(4, 1), bench.size(60, 2)):
        samples = buzz(seconds, RATE)
        amount = {"amount": seconds, "unit": "s of sound"}
        for name, method in [
            ("emotion", "predict"),
            ("gender", "predict"),
            ("speaker", "embed"),
            ("repair", "repair"),
        ]:
            call = functools.partial(getattr(lin_jax.load(name), method), samples, RATE)
            yield bench.time("infer", f"{name} of {seconds} s", call, **amount)


def embedding(bench: Bench) -> Iterator[Figure]:
    """Embeddings of speakers, of clips of 2 to 15 s one after the other, beside Resemblyzer's."""
    import lin_jax

    lengths = np.linspace(2, bench.size(15, 3), bench.size(20, 2))
    clips = [buzz(seconds, RATE, seed) for seed, seconds in enumerate(lengths)]
    speaker = lin_jax.load("speaker")

    def call():
        return [speaker.embed(clip, RATE) for clip in clips]

    more = {"amount": len(clips), "unit": "clips", "config": {"seconds": lengths.tolist()}}
    ours = bench.time("embedding", "speaker", call, **more)
    with tempfile.TemporaryDirectory() as folder:
        for number, clip in enumerate(clips):
            np.save(f"{folder}/{number:02d}.npy", clip)
        peers = list(bench.beside(ours, "Resemblyzer", "embedding", {"folder": folder}))
    ours.seconds += bench.time("embedding", "speaker", call).seconds
    yield from (ours, *peers)


def denoising(bench: Bench) -> Iterator[Figure]:
    """Repair of a recording beside DeepFilterNet 3 and RNNoise, all by seconds of the processor,
    of all cores together: a second by 1 s of sound is a real-time factor of 1.
    """
    import soundfile

    import lin_jax

    seconds = bench.size(30, 1)
    samples, repair = buzz(seconds, RATE), lin_jax.load("repair").repair
    first = _processor_seconds(repair, samples)
    spent = [_processor_seconds(repair, samples) for _ in range(bench.repeats)]
    more = {"amount": seconds, "unit": "s of sound", "config": {"clock": "processor"}}
    ours, peers = Figure("denoising", "repair", spent, first_seconds=first, **more), []
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/noisy.wav", samples, RATE)
        files = [(f"{folder}/noisy.wav", f"{folder}/clean.wav")] * (1 + bench.repeats)
        for system in ("DeepFilterNet 3", "RNNoise"):
            given = {"system": system, "files": files}
            peers += bench.beside(ours, system, "denoise", given)
    for peer in peers:
        peer.seconds = peer.seconds[1:]  # the first loads the model
    ours.seconds += [_processor_seconds(repair, samples) for _ in range(bench.repeats)]
    yield from (ours, *peers)


def _processor_seconds(repair: Callable, samples: np.ndarray) -> float:
    start = time.process_time()
    repair(samples, RATE)
    return time.process_time() - start


def folds(bench: Bench) -> Iterator[Figure]:
    """A step of each of 20 folds of the emotion classifier: under one vmap, and one by one."""
    import jax
    import jax.numpy as jnp

    from lin_jax.training import optim, state, step

    task, batch = next(iter(jobs(bench)))[1].recipe
    F, B = bench.size(20, 2), len(batch["weight"])
    optimizer = optim.build(optim.OptimConfig(schedule="constant"), 1)
    train_step = step.make_train_step(task, optimizer)
    key, batch = jax.random.key(0), jax.device_put(batch)
    first = jax.jit(functools.partial(state.create_state, task, optimizer))(key)
    together = [jax.tree.map(lambda leaf: jnp.stack([leaf] * F), first)]
    apart = [jax.tree.map(jnp.copy, first) for _ in range(F)]
    steps = [
        jax.jit(jax.vmap(train_step, (0, None, None)), donate_argnums=0),
        jax.jit(train_step, donate_argnums=0),
    ]

    def call(states, train_step):
        for number, current in enumerate(states):
            states[number], sums = train_step(current, batch, key)
        return sums

    more = {"amount": F * B, "unit": "clips", "config": {"folds": F, "B": B}}
    name = f"{F} folds side by side"
    ours = bench.time("folds", name, functools.partial(call, together, steps[0]), **more)
    yield ours
    call = functools.partial(call, apart, steps[1])
    yield bench.time("folds", f"{F} folds one after the other", call, ours=ours, **more)


def synthesis(bench: Bench) -> Iterator[Figure]:
    """Speech of the synthesizer that ships, and the training step of the one with attention."""
    import lin_jax
    from experiments import conversion
    from lin_jax.audio.frontend_config import FrontendConfig
    from lin_jax.models import attention, registry
    from lin_jax.tasks.synthesis import Synthesis

    bundle = lin_jax.load("synthesis")
    text = (
        "Good morning." if bench.tiny else "It was a bright cold day, and the clocks struck nine."
    )
    more = {"amount": bundle.speak(text).seconds, "unit": "s of speech"}
    yield bench.time("synthesis", "speak", lambda: bundle.speak(text), **more)

    B, L, T, E = bench.size(32, 2), bench.size(64, 4), bench.size(160, 8), bench.size(576, 8)
    sizes = {"B": B, "L": L, "T": T, "E": E, "M": 80, "V": 60}
    settings = copy.deepcopy(conversion.CONFIG.network)
    if bench.tiny:
        settings.decoder_hidden = 16
    network = registry.build(settings, num_mels=80, num_symbols=60, reduction=4, max_reduction=4)
    task = Synthesis(network, FrontendConfig(n_mels=80), np.zeros(80), np.ones(80), voice_size=E)
    rng = np.random.default_rng(0)
    batch = _columns(B) | {
        "features": rng.normal(size=(B, T, 80)).astype(np.float32),
        "num_frames": np.full(B, T, np.int32),
        "symbols": rng.integers(2, 60, (B, L)).astype(np.int32),
        "num_symbols": np.full(B, L, np.int32),
        "voice": rng.normal(size=(B, E)).astype(np.float32),
    }
    prior = attention.forward_filter(attention.DynamicConvolutionAttention.taps).tolist()
    sizes |= {"prior": prior, "network": dataclasses.asdict(settings) | {"reduction": 4}}
    call, flops = stepping(task, batch)
    more = {"amount": B * T, "unit": "frames", "flops": flops}
    name = "training step with attention"  # one unrolled step after another: not to be compiled
    yield from bench.compare("synthesis", name, call, "conversion", sizes, ways=("eager",), **more)


WHAT = {
    "frontend": (frontend,),
    "prepare": (prepare,),
    "loader": (loader,),
    "train": (train,),
    "lstm": (lstm,),
    "resident": (resident,),
    "infer": (infer,),
    "embedding": (embedding,),
    "denoising": (denoising,),
    "folds": (folds,),
    "synthesis": (synthesis,),
    "device": (lstm, resident, frontend, folds, train, infer),  # while there is time
    "all": (
        *(frontend, prepare, loader, lstm, train, resident, infer),
        *(embedding, denoising, folds, synthesis),
    ),
}


def measure(what: list[str], bench: Bench, seconds: float = float("inf")) -> Iterator[Figure]:
    """The figures that some names stand for.

    Args:
        what: of `WHAT`.
        bench: how is measured.
        seconds: after which nothing more is begun.

    Raises:
        ConfigError: an unknown name, or a peer that does not run.
    """
    if unknown := sorted(set(what) - WHAT.keys()):
        raise ConfigError(f"unknown --what={unknown[0]}: choose of {', '.join(WHAT)}")
    start = time.perf_counter()
    for part in dict.fromkeys(part for name in what for part in WHAT[name]):
        for figure in part(bench):
            yield figure
            if time.perf_counter() - start > seconds:
                print(f"{seconds:g} s are over: the rest is left out", file=sys.stderr)
                return


def _device() -> str:
    import jax

    return jax.local_devices()[0].device_kind


def _versions() -> dict[str, str]:
    names = ("jax", "jaxlib", "flax", "optax", "grain", "numpy", "lin_jax")
    return {name: importlib.metadata.version(name) for name in names}


def _timed(command: list[str], text: str = "") -> float:
    start = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, input=text, text=True, check=True, **quiet)
    return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> int:
    """Measure, write each figure as it comes, and print the table last; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m experiments.benchmark", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--what", default="all", help=f"with commas between: {', '.join(WHAT)}")
    parser.add_argument("--torch", default="", metavar="PYTHON", help="an interpreter with PyTorch")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="PYTHON",
        help="an interpreter with torchaudio, Resemblyzer or denoisers; may be given several times",
    )
    parser.add_argument("--out", type=Path, help="file of JSON lines to add to")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="to begin no more after"
    )
    parser.add_argument("--audio-dir", default="", help="recordings, a folder for each speaker")
    parser.add_argument("--features", default="", help="a feature set of log-mel frames")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test")
    args = parser.parse_args(arguments)
    peers = tuple(args.peer)
    bench = Bench(args.torch, args.repeats, args.tiny, args.audio_dir, args.features, peers)

    def work():
        memory.keep_freed()
        lines = [f"{_device()}, {', '.join(f'{k} {v}' for k, v in _versions().items())}"]
        for figure in measure(args.what.split(","), bench, args.seconds):
            lines.append(figure.line())
            print(lines[-1], file=sys.stderr, flush=True)
            if args.out:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                row = figure.row() | {"device": _device(), "versions": _versions()}
                with args.out.open("a") as out:
                    out.write(json.dumps(row) + "\n")
        print("\n".join(lines))

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
