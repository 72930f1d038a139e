r"""Speech restoration: an autoencoder of the spectrum, trained on clean speech that is damaged anew in every step.

    for corpus in kaldi librispeech ravdess noise; do
        python -m data_pipelines $corpus --audio-dir ... --out features/$corpus --for repair
    done
    python -m experiments.repair --features features/kaldi,features/librispeech,features/ravdess \
        --config.noise=features/noise --workdir runs/repair --preset shipped

What ships had more readers (--config.extra), noises of three sets and rooms (--config.rooms) in the
last stage. Time: 7 hours on one CPU core for all 25,250 steps, 10 minutes to evaluate. Result on 44
held-out speakers in 12 held-out noises, 0 to 15 dB: SI-SDR 13.4 dB, PESQ 2.25, STOI 0.895.
What ships is evaluated by --mode=evaluate --bundle=repair; fine-tuned by --config.init=repair
--config.optim.learning_rate=1e-3. --preset live trains repair_live, with the same --config.extra,
noises and rooms: 85 minutes on half a core; SI-SDR 10.8 dB, PESQ 2.03, STOI 0.860.
"""

import dataclasses
import pathlib

import numpy as np

from data_pipelines.loaders import LoaderConfig
from experiments import _experiment, _run
from experiments._networks import AutoencoderConfig
from experiments._noises import Noises, pool_and_odds
from experiments._run import Stage
from lin_jax import bundles
from lin_jax.audio.degrade import DegradeConfig, RoomPool
from lin_jax.audio.diagnosis import dynamic_range
from lin_jax.evaluation import repair as evaluation
from lin_jax.models import registry
from lin_jax.models.autoencoder import SpectralAutoencoder
from lin_jax.models.enhancer import CausalEnhancer
from lin_jax.tasks.repair import Repair, RepairConfig
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

CLEAR_DB = 35.0  # between the loud and the soft frames of a clip: clearer ones are drawn more often


@dataclasses.dataclass
class EvalConfig:
    """What the repair is evaluated on.

    Attributes:
        clips: of each corpus; the speakers held out take turns.
        seconds: of a clip; it is what a speaker says in one recording after the other.
        damaged_every: every how many of these clips is damaged in other ways than by noise.
        scored_every: every how many of them gets the quality score, which takes long.
    """

    clips: int = 20
    seconds: float = 8.0
    damaged_every: int = 3
    scored_every: int = 8


@dataclasses.dataclass
class Config(_experiment.Config):
    """The settings.

    Attributes:
        noise: feature sets of recorded noises, with commas between them, each drawn from equally
            often; without one, all noise is generated.
        rooms: folder of recorded room responses, audio files; without one, all are generated.
        hold_out_noises: recorded noises of each set to evaluate in; at most a fifth of them.
        clear_weight: how many times more often than others those clips are drawn in which the
            background is faint.
        shifts: of the spectral network once it is trained; see `SpectralAutoencoder`.
        adaptive_mix: how much of a slight change the bundle makes, as in `bundles.AdaptiveMix`.
    """

    noise: str = ""
    rooms: str = ""
    hold_out_noises: int = 12
    clear_weight: int = 2
    shifts: int = 2
    adaptive_mix: tuple[float, ...] = (-22.0, -12.0, 0.2)
    network: AutoencoderConfig = dataclasses.field(default_factory=AutoencoderConfig)
    task: RepairConfig = dataclasses.field(default_factory=RepairConfig)
    degrade: DegradeConfig = dataclasses.field(default_factory=DegradeConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)


CONFIG = Config(
    task=RepairConfig(si_sdr_weight=0.04, pmsqe_weight=0.1, stoi_weight=2.0),
    degrade=DegradeConfig(
        noise_prob=0.85,
        kinds=(0.5, 0.1, 0.1, 0.05, 0.1, 0.15),
        room_prob=0.12,
        clip_prob=0.12,
        drop_prob=0.2,
        band_prob=0.12,
        quantise_prob=0.04,
        drift_prob=0.04,
        gain_db=10.0,
        clean_prob=0.05,
    ),
    optim=OptimConfig(
        learning_rate=2e-3, warmup_steps=200, weight_decay=0.01, clip_norm=1.0, ema_decay=0.998
    ),
    train=TrainConfig(num_steps=10000, log_every=50, eval_every=250, checkpoint_every=250),
    loader=LoaderConfig(batch_size=16, crop_seconds=2.0),
)
FINE_TUNED = {"optim.learning_rate": 1e-3, "optim.warmup_steps": 100}
ROOMS = {"degrade.room_prob": 0.2}
SHALLOW = {"network.middle": (1, 2, 4, 8, 16, 32), "task.stoi_weight": 0.0}
PRESETS = {
    # What ships changed some settings in the midst of a stage, as its bundle.json has it.
    "shipped": [
        Stage(
            {"task.si_sdr_weight": 0.02, "degrade.drop_prob": 0.12} | SHALLOW,
            ("train", "evaluate", "ship"),
            "first",
        ),
        Stage(
            {"init": "{workdir}/first/ship/repair", "train.num_steps": 7250} | FINE_TUNED | SHALLOW,
            ("train", "evaluate", "ship"),
            "second",
        ),
        Stage(
            {"init": "{workdir}/second/ship/repair", "train.num_steps": 5000} | FINE_TUNED,
            ("train", "evaluate", "ship"),
            "third",
        ),
        Stage(
            {"init": "{workdir}/third/ship/repair", "train.num_steps": 3000} | FINE_TUNED | ROOMS,
            folder="fourth",
        ),
    ],
    # The autoencoder of the project that this one began as.
    "mel": [
        Stage(
            {"network.name": "MelAutoencoder", "task.loss": "mel"}
            | {"task.pmsqe_weight": 0.0, "task.stoi_weight": 0.0}
        )
    ],
    # A small network that hears nothing ahead; level and damage are those of a microphone.
    "live": [
        Stage(
            {"network.name": "CausalEnhancer", "network.hop_length": 160, "network.hidden": 72}
            | {"network.bottleneck": 8, "adaptive_mix": (), "loader.batch_size": 10}
            | {"degrade.noise_prob": 0.92, "degrade.gain_db": 20.0, "degrade.drop_prob": 0.0}
            | {"degrade.clip_prob": 0.06, "degrade.band_prob": 0.06, "degrade.quantise_prob": 0.0}
            | {"degrade.drift_prob": 0.0, "degrade.room_prob": 0.1, "task.pmsqe_weight": 0.3}
            | {"train.num_steps": 5500}
        )
    ],
}


class Experiment(_experiment.Experiment):
    """Corpora of clean speech, recorded noises, and the repair trained on them."""

    NAME = "repair"
    STORE = "waveform"

    def __init__(self, config: Config, folder: str | pathlib.Path, bundle: str = ""):
        super().__init__(config, folder, bundle)
        self.noises = Noises.of(config, self.clips.frontend)
        self.network = registry.build(config.network, sample_rate=self.clips.frontend.sample_rate)
        if isinstance(self.network, CausalEnhancer):
            self.NAME = "repair_live"

    def make_task(self) -> Repair:
        """The task, with the noises that are not held out."""
        config, rate = self.config, self.clips.frontend.sample_rate
        pool, degrade = pool_and_odds(self.noises, config.degrade)
        rooms = RoomPool.read(config.rooms, rate) if config.rooms else None
        return Repair(self.network, rate, pool, config.task, degrade, rooms)

    def start_params(self, task: Repair):
        """Those of the bundle to fine-tune, whose middle may be shorter."""
        start, network = self.start, task.model
        spectral = all(isinstance(each, SpectralAutoencoder) for each in (start.model, network))
        middle = tuple(start.model.middle) if spectral else ()
        if spectral and tuple(network.middle[: len(middle)]) == middle:
            added = len(network.middle) - len(middle)
            params = start.model.deepened(start.variables["params"], added)
            self.start = dataclasses.replace(start, variables={"params": params})
        return super().start_params(task)

    def make_bundle(self, task: Repair, result) -> bundles.Repairer:
        """The network, shifted, with how its repair is mixed in."""
        network, mix = task.model, self.config.adaptive_mix
        if isinstance(network, SpectralAutoencoder):
            network = network.clone(shifts=self.config.shifts)
        mix = bundles.AdaptiveMix(*mix) if mix else None
        kind = bundles.Repairer.kind_for(network)
        return kind(self.NAME, network, self.clips.frontend, result.variables, mix)

    def test_set(self) -> tuple[np.ndarray, np.ndarray]:
        """Segments, and a clip of each speaker."""
        config = self.config.eval
        size = round(config.seconds * self.clips.frontend.sample_rate)
        return self.test_segments(size, config.clips)

    def measure(self, bundle: bundles.Repairer, test_set, out: pathlib.Path) -> dict:
        """See `evaluation.evaluate`; also writes report.html."""
        config, noises, (clean, chosen) = self.config.eval, self.noises, test_set
        results, examples = evaluation.evaluate(
            bundle,
            clean,
            self.speakers[chosen],
            self.corpora[chosen],
            noises.waveforms(noises.test) if noises else [],
            damaged_every=config.damaged_every,
            scored_every=config.scored_every,
            progress=print,
        )
        if noises:
            results |= {"train_noises": len(noises.train), "noises": noises.names(noises.test)}
        described, rate = (
            {"protocol": self.split.protocol} | results,
            self.clips.frontend.sample_rate,
        )
        evaluation.report(described, examples, rate, out)
        return results

    def facts(self, results: dict) -> dict:
        """See `Experiment`."""
        noises = self.noises
        return {
            "corpora": noises.clips.describe(noises.train) if noises else [],
            "summary": "Restores damaged or noisy speech: noise, clipping, drop-outs, hum, narrow "
            "bands, rooms.",
            "protocol": f"{results['protocol']}, with noises held out too",
            "reference": "the damaged recording, after it the restored one, both against the clean "
            "one",
            "metrics": evaluation.card_metrics(results),
        }

    def drawn(self, indices: np.ndarray) -> np.ndarray:
        """Once a crop, and more often where the background is faint."""
        config, rate = self.config, self.clips.frontend.sample_rate
        seconds = self.clips.lengths[indices] / rate
        crops = np.ceil(seconds / config.loader.crop_seconds).astype(int)
        ranges = [dynamic_range(self.clips[int(i)]["waveform"], rate) for i in indices]
        clear = np.array(ranges) > CLEAR_DB
        return np.repeat(indices, crops * np.where(clear, config.clear_weight, 1))


if __name__ == "__main__":
    _run.main(Experiment, CONFIG, PRESETS)
