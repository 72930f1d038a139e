"""What `experiments.repair` does: held-out speakers and noises, the training, the judging, and the bundle.

Shape letters: B clips, N samples.
"""

import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Iterator

import numpy as np

from data_pipelines import features, loaders, splits
from data_pipelines.loaders import LoaderConfig
from experiments import _run
from lin_jax.apps import report
from lin_jax.audio.degrade import DegradeConfig, NoisePool
from lin_jax.errors import ConfigError
from lin_jax.models.autoencoder import MelAutoencoder, SpectralAutoencoder
from lin_jax.tasks.repair import Repair, RepairConfig
from lin_jax.training import loop, writers
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

CLEAR_DB = 35.0  # between the loud and the soft frames of a clip: clearer ones are heard more often
FRAME_SECONDS = 0.02


@dataclasses.dataclass
class EncoderConfig:
    """Size of the default network; see `SpectralAutoencoder`."""

    n_fft: int = 512
    hop_length: int = 256
    width: int = 32
    inner_width: int = 64
    outer: tuple[int, ...] = (1,)
    inner: tuple[int, ...] = (2,)
    bottleneck: int = 16
    hidden: int = 256
    middle: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    causal: bool = False


@dataclasses.dataclass
class Config:
    """Everything the experiment can be told.

    Attributes:
      network: "spectral", of the size in `encoder`, or "mel", the network of the original project.
      noise: feature set of recorded noises; without one, all noise is generated.
      hold_out: speakers of each corpus to judge on; at most a fifth of them, so that a tiny corpus only trains.
      hold_out_noises: recorded noises to judge in; at most a fifth of them.
      validation: speakers of each corpus to watch the training by; at most a tenth.
      seed: of the choice of speakers and noises.
      clear_weight: how many times more often than others those clips are drawn in which the background is faint.
      eval_batches: batches of the validation speakers in an evaluation during training.
    """

    network: str = "spectral"
    noise: str = ""
    hold_out: int = 25
    hold_out_noises: int = 12
    validation: int = 12
    seed: int = 0
    clear_weight: int = 2
    eval_batches: int = 8
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    task: RepairConfig = dataclasses.field(default_factory=RepairConfig)
    degrade: DegradeConfig = dataclasses.field(default_factory=DegradeConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)


class Experiment:
    """One or several corpora of clean speech, recorded noises, and the repair that can be learnt from them.

    Args:
      config: see `Config`.
      folder: the feature set, or several with commas between them; their store is "waveform".
    """

    def __init__(self, config: Config, folder: pathlib.Path):
        if config.network not in ("spectral", "mel"):
            raise ConfigError(f"unknown network {config.network!r}: choose spectral or mel")
        self.config = config
        self.clips = features.open_features(folder)
        if self.clips.store != "waveform":
            raise ConfigError(f"{folder}: holds features, repair learns from waveforms: prepare with --store=waveform")
        self.speakers, self.corpora = np.array(self.clips.speakers), np.array(self.clips.corpora)
        self.split = splits.hold_out(self.speakers, self.corpora, config.hold_out, config.validation, seed=config.seed)
        self.noises = features.open_features(config.noise, self.clips.frontend) if config.noise else []
        shuffled = np.random.default_rng(config.seed).permutation(len(self.noises))
        self.unheard_noises, self.heard_noises = np.split(
            shuffled, [min(config.hold_out_noises, len(self.noises) // 5)]
        )

    def fit(self, workdir: pathlib.Path) -> tuple[Repair, loop.Result]:
        """Train on the training speakers and noises; go on, or return at once, where that was done before."""
        config, task = self.config, self.make_task()
        train = loaders.make_loader(self.clips, self._drawn(self.split.train), None, config.loader, train=True)
        with contextlib.closing(writers.create(workdir, config.train.num_steps)) as writer:
            writer.write_hparams(_run.flatten(config))
            result = loop.fit(
                task,
                config.train,
                config.optim,
                train,
                self._validation_batches if len(self.split.validation) else None,
                workdir,
                writer,
            )
            curves = report.plot_curves(result.history, workdir / "curves.png")
            writer.write_images(config.train.num_steps, {"curves": report.pixels(curves)})
        return task, result

    def make_task(self) -> Repair:
        """The task, with the noises that are not held out."""
        config, rate = self.config, self.clips.frontend.sample_rate
        size = {"n_fft": config.encoder.n_fft, "hop_length": config.encoder.hop_length}
        if config.network == "mel":
            network = MelAutoencoder(rate, **size)
        else:
            settings = dataclasses.asdict(config.encoder)
            settings |= {name: tuple(settings[name]) for name in ("outer", "inner", "middle")}
            network = SpectralAutoencoder(rate, **settings)
        pool, degrade = None, config.degrade
        if len(self.heard_noises):
            pool = NoisePool.of([self.noises[int(index)]["waveform"] for index in self.heard_noises])
        else:
            degrade = dataclasses.replace(degrade, kinds=(0.0, *degrade.kinds[1:]))
        return Repair(network, rate, pool, config.task, degrade)

    def _drawn(self, indices) -> np.ndarray:
        """Clips as often as they are drawn in an epoch: for each crop once, and more often where they are clear."""
        config, rate = self.config, self.clips.frontend.sample_rate
        crops = np.ceil(self.clips.lengths[indices] / (config.loader.crop_seconds * rate)).astype(int)
        clear = np.array([_range_db(self.clips[int(i)]["waveform"], rate) > CLEAR_DB for i in indices])
        return np.repeat(indices, crops * np.where(clear, config.clear_weight, 1))

    def _validation_batches(self) -> Iterator[dict]:
        """The same crops every time."""
        settings = dataclasses.replace(self.config.loader, seed=0)
        settings.batch_size = min(settings.batch_size, len(self.split.validation))
        batches = loaders.make_loader(self.clips, self.split.validation, None, settings, train=True)
        try:
            yield from itertools.islice(batches, self.config.eval_batches)
        finally:
            batches.close()


def _range_db(samples, sample_rate: int) -> float:
    """How far the soft frames of a clip lie below the loud ones: where it is far, the background is faint."""
    size = round(FRAME_SECONDS * sample_rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.mean(frames**2, axis=1) + 1e-10
    return float(np.ptp(10 * np.log10(np.percentile(power, [5, 95])))) if len(frames) else 0.0
