r"""A text, or a recording, is said in a voice that was learnt or heard: encoder, attention, decoder of mel frames.

    python -m data_pipelines synthetic --audio-dir corpora/choir --out features/choir \
        --speakers 24 --clips 400 --styles calm --voices-per-sentence 4 --texts sentences.txt \
        --frontend.n_mels=80 --frontend.n_fft=1024 --frontend.win_length=1024 --frontend.hop_length=256 \
        --frontend.level=rms --frontend.level_db=-25
    python -m data_pipelines synthetic --audio-dir corpora/crowd --out features/crowd \
        --speakers 200 --clips 48 --styles calm --random-voices \
        --voices-per-sentence 4 --texts sentences.txt --frontend…
    python -m data_pipelines kaldi --audio-dir speechocean762/train --out features/speechocean762 \
        --speeds 0.87 1.15 --frontend…
    python -m experiments.synthesis --features features/choir,features/crowd,features/speechocean762 \
        --workdir runs/synthesis

--mode=train     learns from the sentences and speakers that are not held out
--mode=evaluate  judges what was learnt on those held out, beside the originals and the vocoder alone
--mode=ship      a bundle, described by the results of evaluate

What espeak-ng says is learnt with ease, and lends its attention to people, of whom there is little. The crowd, and
people at other speeds, are many voices: by these it learns to copy others. The bundle that ships learnt for
10,000 steps without them, from there on for 7,000 with them (--config.init=FIRST --config.stages.steps=7000), and for
7,000 with readers of LibriSpeech besides (--config.init=SECOND --config.stages.steps=7000); from the mean of the last
two (--config.init=SECOND,THIRD --config.stages.steps=0), each named by its bundle's folder, for 6,500 with a second
crowd (--speakers 600 --clips 10 --random-voices --seed 1); it is the mean of that mean and the result. What ships is
judged by --config.init=synthesis --config.stages.steps=0.
One voice from its own recordings (ten clips or more): --config.init=synthesis --config.optim.learning_rate=2e-4
--config.optim.warmup_steps=20 --config.stages.steps=300 --config.loader.batch_size=8 --config.loader.buckets=1; the
features must be made with the front end of that bundle.
Finer steps of the decoder after the coarse ones: --config.stages.reductions=4,2 --config.stages.steps=10000,5000
The sound of the bundle of experiments.vocoder in place of Griffin-Lim's: --config.vocoder=vocoder
Voices that are not the machine's, nearer to those that are, and so understood: --config.clear=choir,crowd
Recordings without texts are learnt from as well, by saying them again; if they are long: --config.longest_seconds=16
Letters instead of phonemes: --config.form=characters. Voices as a table of those in training: --config.voices=table
"""

from pathlib import Path

from data_pipelines.loaders import LoaderConfig
from experiments import _judgement, _run
from experiments._synthesis import Config, Experiment
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

CONFIG = Config(
    optim=OptimConfig(
        learning_rate=1e-3, warmup_steps=300, weight_decay=1e-4, clip_norm=1.0, ema_decay=0.999
    ),
    train=TrainConfig(log_every=50, eval_every=800, checkpoint_every=250),
    loader=LoaderConfig(batch_size=32, buckets=5),
)


def train(config: Config, features: Path, workdir: Path):
    """One training, watched on held-out sentences of known voices."""
    Experiment(config, features).fit(workdir / "train")


def evaluate(config: Config, features: Path, workdir: Path):
    """The training judged on sentences, and voices, that it never heard."""
    _judgement.judge(Experiment(config, features), workdir / "train", workdir / "evaluate")


def ship(config: Config, features: Path, workdir: Path):
    """A bundle, described by what evaluate found in the same workdir."""
    Experiment(config, features).ship(workdir)


if __name__ == "__main__":
    _run.main(CONFIG, {"train": train, "evaluate": evaluate, "ship": ship})
