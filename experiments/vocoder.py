r"""The waveform of mel frames: a network says what the bands of the frames hide, Griffin-Lim finds the phases.

    for corpus in table kaldi librispeech ravdess; do
        python -m data_pipelines $corpus --audio-dir ... --out features/$corpus --store waveform \
            --frontend.n_mels=80 --frontend.n_fft=1024 --frontend.win_length=1024 --frontend.hop_length=256 \
            --frontend.level=rms --frontend.level_db=-25
    done
    python -m experiments.vocoder --features features/kaldi,features/librispeech --workdir runs/vocoder

--mode=train     learns from the speakers that are not held out
--mode=evaluate  judges what was learnt on those held out, beside Griffin-Lim with and without the true magnitudes
--mode=ship      the bundle, with the results of evaluate in its card

All speakers come equally often, however much they say. The front end must be that of the synthesizer whose frames it
should make sound. What a discriminator cannot tell from recordings is learnt besides with
--config.task.adversarial_weight=0.05, at about twice the time of a step.
"""

from pathlib import Path

from data_pipelines.loaders import LoaderConfig
from experiments import _run
from experiments._vocoding import Config, Experiment
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

CONFIG = Config(
    optim=OptimConfig(
        learning_rate=1e-3, warmup_steps=200, weight_decay=0.01, clip_norm=1.0, ema_decay=0.998
    ),
    train=TrainConfig(num_steps=3000, log_every=50, eval_every=250, checkpoint_every=250),
    loader=LoaderConfig(batch_size=16, clips_per_speaker=2, crop_seconds=1.5),
)


def train(config: Config, features: Path, workdir: Path):
    """One training, watched on the validation speakers."""
    Experiment(config, features).fit(workdir / "train")


def evaluate(config: Config, features: Path, workdir: Path):
    """The training judged on speakers that it never heard."""
    Experiment(config, features).evaluate(workdir / "train", workdir / "evaluate")


def ship(config: Config, features: Path, workdir: Path):
    """The bundle."""
    Experiment(config, features).ship(workdir)


if __name__ == "__main__":
    _run.main(CONFIG, {"train": train, "evaluate": evaluate, "ship": ship})
