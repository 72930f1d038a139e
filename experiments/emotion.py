r"""Emotion from the voice on RAVDESS: a residual classifier on log-mel frames.

    python -m data_pipelines ravdess --audio-dir RAVDESS --out features/ravdess \
        --frontend.n_fft=1024 --frontend.win_length=1024 --frontend.hop_length=256 \
        --frontend.level=rms --frontend.level_db=-25
    python -m experiments.emotion --features features/ravdess --workdir runs/emotion

--mode=train         one network, speakers of its own for training, validation and test
--mode=loso          all leave-one-actor-out folds: UAR with an interval over actors, confusion matrix, actors
--mode=random_split  5 folds over clips, speaker-dependent: what many projects quote, and far too good for new voices
--mode=ship          a bundle trained on every clip, calibrated on the results of loso

Networks that hear a clip as a whole, by its functionals, make other mistakes: with those of the same recordings
    python -m data_pipelines ravdess --audio-dir RAVDESS --out features/functionals --frontend.feature=functionals \
        --frontend.n_mels=40 --frontend.n_mfcc=16 --frontend.level=rms --frontend.level_db=-25
and --config.functionals=features/functionals some are trained besides, and all are asked together, as what ships is.

Voices that are known may be told by their sound, which for others is varied and half taken away, and learnt for longer:
--mode=random_split --config.folds.num_steps=2000 --config.augment.mean_removal_prob=0
--config.task.tta.mean_removal=False --config.augment.frequency_warp=0.96,1.04 --config.task.tta.frequency=0.02
"""

from pathlib import Path

from data_pipelines import splits
from data_pipelines.corpora.ravdess import EMOTIONS
from experiments import _run
from experiments._classification import Config, Experiment
from lin_jax.audio.augment import AugmentConfig
from lin_jax.tasks.classification import ClassificationConfig, TestTimeAugmentation
from lin_jax.training.folds import FoldsConfig
from lin_jax.training.optim import OptimConfig

CONFIG = Config(
    task=ClassificationConfig(
        label_smoothing=0.1,
        mixup_alpha=0.3,
        tta=TestTimeAugmentation(tempo=0.06, frequency=0.05, mean_removal=True),
    ),
    augment=AugmentConfig(
        tempo=(0.9, 1.1),
        frequency_warp=(0.9, 1.1),
        mean_removal_prob=0.5,
        freq_masks=2,
        freq_mask_width=8,
        time_masks=2,
        time_mask_width=10,
    ),
    optim=OptimConfig(
        learning_rate=2e-3, warmup_steps=100, weight_decay=0.05, clip_norm=2.0, ema_decay=0.99
    ),
    folds=FoldsConfig(num_steps=1000, crop_frames=176),
)

FUNCTIONALS = Config(
    network="shallow",
    seeds=4,
    task=ClassificationConfig(label_smoothing=0.1, mixup_alpha=0.3),
    optim=OptimConfig(
        learning_rate=3e-3, warmup_steps=100, weight_decay=0.1, clip_norm=5.0, ema_decay=0.99
    ),
    folds=FoldsConfig(num_steps=1500, batch_size=64, checkpoint_every=1500),
)


def train(config: Config, features: Path, workdir: Path):
    """One training."""
    _open(config, features).train(workdir / "train")


def loso(config: Config, features: Path, workdir: Path):
    """Every actor judged by networks that never heard that actor."""
    experiment = _open(config, features)
    experiment.cross_validate(splits.leave_one_speaker_out(experiment.speakers), workdir / "loso")


def random_split(config: Config, features: Path, workdir: Path):
    """Every clip judged by networks that heard the same actor."""
    experiment = _open(config, features)
    experiment.cross_validate(splits.random_k_fold(experiment.labels, 5), workdir / "random_split")


def ship(config: Config, features: Path, workdir: Path):
    """Networks that heard every actor, calibrated and described by the results of loso in the same workdir."""
    _open(config, features).ship(
        workdir / "loso",
        workdir / "ship",
        summary=f"Recognises one of {len(EMOTIONS)} acted emotions in a spoken sentence.",
        limits=["Emotions that people act are not emotions that people have."],
    )


def _open(config: Config, features: Path) -> Experiment:
    return Experiment(config, features, "emotion", EMOTIONS, FUNCTIONALS)


if __name__ == "__main__":
    _run.main(CONFIG, {"train": train, "loso": loso, "random_split": random_split, "ship": ship})
