r"""Gender recognition, or that nobody speaks: a residual network on MFCC, fused with a dense one on functionals.

    for corpus in librispeech kaldi ravdess noise; do  # noise: ESC-10, ambient loops, and others
        python -m data_pipelines $corpus --audio-dir ... --out features/gender/$corpus --for gender
        python -m data_pipelines $corpus --audio-dir ... --out features/functionals/$corpus \
            --for gender/fused
    done  # and noises that are made: noise --audio-dir runs/noise --generate 240
    python -m experiments.gender --workdir runs/gender --features features/gender/librispeech,… \
        --config.fused.features=features/functionals/librispeech,… --preset shipped

Time: an hour on two CPU cores. Result, 3 speaker-disjoint folds, 301 adults, 3,261 clips: accuracy
0.956. What ships is evaluated by --mode=evaluate --bundle=gender, on clips that it was trained on.
Children are evaluated, but nothing is trained on them: boys and girls sound alike.
"""

import pathlib

import numpy as np

from data_pipelines.corpora import NO_SPEECH, SEXES
from experiments import _classification, _groups, _run
from experiments._classification import Config, EvalConfig
from experiments._networks import WINDOW_SECONDS, FusedConfig
from experiments._run import Stage
from lin_jax.audio.augment import AugmentConfig
from lin_jax.errors import FeatureError
from lin_jax.tasks.classification import ClassificationConfig
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

CONFIG = Config(
    protocol="folds",
    num_folds=3,
    child_gate="speaker",
    task=ClassificationConfig(class_weights=True, label_smoothing=0.05, background=NO_SPEECH),
    augment=AugmentConfig(
        speed=(0.96, 1.04),
        noise_prob=0.2,
        noise_snr_db=(0.0, 25.0),
        background_prob=0.5,
        background_snr_db=(-3.0, 20.0),
        room_prob=0.3,
        band_prob=0.3,
        gain_db=3.0,
        time_masks=2,
    ),
    optim=OptimConfig(
        learning_rate=2e-3, warmup_steps=100, weight_decay=0.05, clip_norm=2.0, ema_decay=0.99
    ),
    train=TrainConfig(num_steps=1200, eval_every=250, checkpoint_every=250),
    # Above the last the answers are hardly righter, and there are fewer.
    eval=EvalConfig(snrs=(20.0, 10.0, 0.0), telephone=True, per_speaker=2, unsure_below=0.65),
)
CONFIG.loader.crop_seconds = 2.5
CONFIG.fused = FusedConfig(
    task=CONFIG.task,
    augment=CONFIG.augment.of_waveforms,
    optim=OptimConfig(
        learning_rate=3e-3, warmup_steps=100, weight_decay=0.1, clip_norm=5.0, ema_decay=0.99
    ),
    train=TrainConfig(num_steps=600, eval_every=300, checkpoint_every=300),
)
CONFIG.fused.loader.crop_seconds = 3.0
PRESETS = {
    "shipped": [Stage()],
    # The networks on functionals alone, with --features=features/functionals/….
    "functionals": [Stage(_classification.functionals_alone(CONFIG), ("train", "evaluate"))],
}


class Experiment(_classification.Experiment):
    """The sexes of one or several corpora, and sounds in which nobody speaks."""

    NAME = "gender"
    LABEL = "sex"
    CLASSES = (*SEXES.values(), NO_SPEECH)

    def __init__(self, config: Config, folder: str | pathlib.Path, bundle: str = ""):
        super().__init__(config, folder, bundle)
        self.children = _groups.ages(self.clips) < _groups.CHILD
        self.trainable = ~self.children
        if missing := set(range(len(self.names))) - set(self.labels):
            name = self.names[missing.pop()]
            raise FeatureError(f"{folder}: no clip is {name!r}: add a feature set that has some")

    def groups(self) -> dict[str, np.ndarray]:
        """Adults, those of each corpus, children by age, and sounds without speech."""
        silent = self.labels == self.names.index(NO_SPEECH)
        adults = ~silent & ~self.children
        corpora = {
            str(name): adults & (self.corpora == name) for name in np.unique(self.corpora[adults])
        }
        return {"adults": adults} | corpora | _groups.by_age(self.clips) | {NO_SPEECH: silent}

    def facts(self, results: dict) -> dict:
        """See `_experiment.Experiment`."""
        return super().facts(results) | {
            "summary": "Tells whether a voice sounds female or male, or that nobody speaks; below "
            f'{results["unsure_below"]:.0%} it says "unsure".',
            "details": "A convolutional residual network, averaged half and half with a small "
            f"dense network on functionals. Windows of {WINDOW_SECONDS:g} s are classified, and "
            "those without speech do not count.",
            "limits": [
                "It classifies how a voice sounds, not who somebody is; children sound alike."
            ],
        }


if __name__ == "__main__":
    _run.main(Experiment, CONFIG, PRESETS)
