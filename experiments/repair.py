r"""Damaged and noisy speech comes out restored: an autoencoder of the spectrum, learnt from clean speech.

    for corpus in kaldi librispeech ravdess noise; do
        python -m data_pipelines $corpus --audio-dir ... --out features/$corpus --store waveform \
            --frontend.hop_length=256 --frontend.win_length=512 --frontend.level=rms --frontend.level_db=-25
    done
    python -m experiments.repair --features features/kaldi,features/librispeech,features/ravdess \
        --config.noise=features/noise --workdir runs/repair

--mode=train     learns from the speakers and noises that are not held out, damaged anew in every step
--mode=evaluate  judges what was learnt on those held out: each kind of damage, beside the untouched and a baseline
--mode=ship      the bundle, with the results of evaluate in its card

On from what ships, to other voices and noises: --config.init=repair --config.optim.learning_rate=1e-3
The mel autoencoder of the original project: --config.network=mel --config.task.loss=mel
--config.task.pmsqe_weight=0 --config.task.stoi_weight=0
Rooms that were recorded besides generated ones: --config.rooms=FOLDER, of room responses
Nothing of the future: --config.encoder.causal=True
"""

from pathlib import Path

from data_pipelines.loaders import LoaderConfig
from experiments import _run
from experiments._repair import Config, Experiment
from lin_jax.audio.degrade import DegradeConfig
from lin_jax.tasks.repair import RepairConfig
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

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


def train(config: Config, features: Path, workdir: Path):
    """One training, watched on the validation speakers."""
    Experiment(config, features).fit(workdir / "train")


def evaluate(config: Config, features: Path, workdir: Path):
    """The training judged on speakers and noises that it never heard."""
    Experiment(config, features).evaluate(workdir / "train", workdir / "evaluate")


def ship(config: Config, features: Path, workdir: Path):
    """The bundle."""
    Experiment(config, features).ship(workdir)


if __name__ == "__main__":
    _run.main(CONFIG, {"train": train, "evaluate": evaluate, "ship": ship})
