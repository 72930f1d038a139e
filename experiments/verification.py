r"""Who is speaking: a residual network whose embeddings are near for one speaker and far for two, beside functionals.

    for corpus in kaldi librispeech ravdess; do  # kaldi: speechocean762
        python -m data_pipelines $corpus --audio-dir ... --out features/$corpus --store waveform \
            --frontend.n_mels=64 --frontend.hop_length=256 --frontend.win_length=512 --frontend.level=rms \
            --frontend.level_db=-25
    done
    python -m experiments.verification --features features/kaldi,features/librispeech,features/ravdess \
        --workdir runs/verification

--mode=train      learns from the speakers that are not held out
--mode=evaluate   judges what was learnt on the speakers held out: equal error rates with intervals over speakers
--mode=train_all  learns from all speakers
--mode=ship       a bundle of train_all where that was done, else of train, calibrated on the results of evaluate

On from what ships, to other voices: --config.init=speaker
The network and loss of the original project (with the hardest triplets, or faster, all embeddings become one):
--config.network=small --config.share=0 --config.task.loss=triplet --config.task.mining=semi-hard
--config.task.triplet_weight=0 --config.task.speeds=(1.0,) --config.loader.crop_seconds=3
--config.optim.learning_rate=5e-4 --config.optim.warmup_steps=50 --config.train.num_steps=450
"""

from pathlib import Path

from data_pipelines.loaders import LoaderConfig
from experiments import _run
from experiments._verification import Config, Experiment
from lin_jax.audio.augment import AugmentConfig
from lin_jax.tasks.verification import VerificationConfig
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

CONFIG = Config(
    task=VerificationConfig(triplet_weight=1.0, speeds=(0.9, 1.0, 1.1)),
    augment=AugmentConfig(
        noise_prob=0.5,
        noise_snr_db=(5.0, 25.0),
        babble_prob=0.2,
        room_prob=0.4,
        band_prob=0.2,
        freq_masks=1,
        freq_mask_width=8,
        time_masks=1,
        time_mask_width=10,
    ),
    optim=OptimConfig(
        learning_rate=2e-3, warmup_steps=300, weight_decay=0.05, clip_norm=5.0, ema_decay=0.999
    ),
    train=TrainConfig(num_steps=5000, log_every=50, eval_every=500, checkpoint_every=250),
    loader=LoaderConfig(batch_size=64, clips_per_speaker=2, crop_seconds=2.0),
)


def train(config: Config, features: Path, workdir: Path):
    """One training, watched on the validation speakers."""
    Experiment(config, features).fit(workdir / "train")


def train_all(config: Config, features: Path, workdir: Path):
    """One training on every speaker."""
    Experiment(config, features).fit(workdir / "train_all", everything=True)


def evaluate(config: Config, features: Path, workdir: Path):
    """The training judged on speakers it never heard."""
    Experiment(config, features).evaluate(workdir / "train", workdir / "evaluate")


def ship(config: Config, features: Path, workdir: Path):
    """The bundle."""
    Experiment(config, features).ship(workdir)


if __name__ == "__main__":
    _run.main(CONFIG, {"train": train, "evaluate": evaluate, "train_all": train_all, "ship": ship})
