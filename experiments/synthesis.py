r"""A text is said in a voice that was learnt, or heard: an encoder, attention, and a decoder of mel frames.

    python -m data_pipelines synthetic --audio-dir ... --out features/synthetic \
        --frontend.n_mels=80 --frontend.n_fft=1024 --frontend.win_length=1024 --frontend.hop_length=256 \
        --frontend.level=rms --frontend.level_db=-25
    python -m experiments.synthesis --features features/synthetic --workdir runs/synthesis

--mode=train     learns from the sentences and speakers that are not held out
--mode=evaluate  judges what was learnt on those held out, beside the originals and the vocoder alone

Voices heard by the speaker encoder instead of a table of those in training: --config.voices=speaker
Phonemes instead of characters: --config.form=phonemes
"""

from pathlib import Path

from data_pipelines.loaders import LoaderConfig
from experiments import _judgement, _run
from experiments._synthesis import Config, Experiment
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

CONFIG = Config(
    optim=OptimConfig(learning_rate=1e-3, warmup_steps=500, weight_decay=1e-4, clip_norm=1.0, ema_decay=0.999),
    train=TrainConfig(log_every=50, eval_every=1000, checkpoint_every=500),
    loader=LoaderConfig(batch_size=32, buckets=5),
)


def train(config: Config, features: Path, workdir: Path):
    """One training, watched on held-out sentences of known voices."""
    Experiment(config, features).fit(workdir / "train")


def evaluate(config: Config, features: Path, workdir: Path):
    """The training judged on sentences, and voices, that it never heard."""
    _judgement.judge(Experiment(config, features), workdir / "train", workdir / "evaluate")


if __name__ == "__main__":
    _run.main(CONFIG, {"train": train, "evaluate": evaluate})
