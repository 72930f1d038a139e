r"""Emotion recognition on RAVDESS: a residual network on log-mel frames, fused with dense ones on functionals.

    python -m data_pipelines ravdess --audio-dir RAVDESS --out features/ravdess --for emotion
    python -m data_pipelines ravdess --audio-dir RAVDESS --out features/functionals \
        --for emotion/fused --speeds 0.84 0.92 1.08 1.16
    python -m experiments.emotion --features features/ravdess --workdir runs/emotion \
        --config.fused.features=features/functionals --preset shipped

Time: an hour on two CPU cores for the 20 folds of a network on frames, three hours for three of
them. Result, 10 folds of two actors, 1,200 clips: unweighted average recall 0.707 (0.662 - 0.754),
by two networks on frames and four on functionals of clips at five speeds. What ships is evaluated by
--mode=evaluate --bundle=emotion, on clips that it was trained on.

Who has all 24 actors compares with the folds of a paper by --preset reslstm: D. Krasnoproshin and
M. Vashkevich, "Speech Emotion Recognition using Attention-based LSTM-Network with Residual
Connection" (arXiv:2606.03359), trains from scratch too, and quotes 0.623 ± 0.012, at most 0.652,
over 10 runs. Here as well every seed is one run: results.json has by_seed, the mean and deviation
over seeds and folds. The paper takes two actors more out of each training, to choose the step by;
here none is chosen. Time: two hours on two cores; 5 seeds are --config.seeds=5
--config.fused.seeds=5.
"""

from typing import ClassVar

from data_pipelines.corpora.ravdess import EMOTIONS, RESLSTM_FOLDS, speaker
from experiments import _classification, _run
from experiments._classification import Config, EvalConfig
from experiments._networks import FusedConfig
from experiments._run import Stage
from lin_jax.audio.augment import AugmentConfig
from lin_jax.tasks.classification import ClassificationConfig, TestTimeAugmentation
from lin_jax.training.folds import FoldsConfig
from lin_jax.training.optim import OptimConfig

CONFIG = Config(
    speech_gate="gender",
    min_seconds=1.0,
    min_snr_db=20.0,
    note="of acted studio speech",
    # Of held-out actors, four fifths of what is answered are then right.
    eval=EvalConfig(unsure_below=0.6),
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
    fused=FusedConfig(
        seeds=4,
        task=ClassificationConfig(
            label_smoothing=0.1,
            mixup_alpha=0.3,
            tta=TestTimeAugmentation(speeds=(0.84, 1.0, 1.16)),
        ),
        optim=OptimConfig(
            learning_rate=3e-3, warmup_steps=100, weight_decay=0.1, clip_norm=5.0, ema_decay=0.99
        ),
        folds=FoldsConfig(num_steps=1500, batch_size=64, checkpoint_every=1500),
    ),
)
PRESETS = {
    "shipped": [Stage({}, ("train", "evaluate")), Stage({"seeds": 3}, ("ship",))],
    # Minutes in place of hours, with --features=features/functionals.
    "functionals": [Stage(_classification.functionals_alone(CONFIG), ("train", "evaluate"))],
    "reslstm": [
        Stage(
            {"protocol": "reslstm", "seeds": 10, "fused.seeds": 10, "eval.by_seed": True},
            ("train", "evaluate"),
        )
    ],
    # Voices that are known may be recognised by their sound, which for others is varied and half taken
    # away, and trained on for longer.
    "known_voices": [
        Stage(
            {"protocol": "random", "folds.num_steps": 2000, "augment.mean_removal_prob": 0.0}
            | {"augment.frequency_warp": (0.96, 1.04), "task.tta.mean_removal": False}
            | {"task.tta.frequency": 0.02}
        )
    ],
}


class Experiment(_classification.Experiment):
    """The emotions of one or several corpora."""

    NAME = "emotion"
    LABEL = "emotion"
    CLASSES = EMOTIONS
    PUBLISHED: ClassVar = {
        "reslstm": (
            "arXiv:2606.03359",
            [[speaker(actor) for actor in actors] for actors in RESLSTM_FOLDS],
        )
    }

    def facts(self, results: dict) -> dict:
        """See `_experiment.Experiment`."""
        return super().facts(results) | {
            "summary": f"Recognises one of {len(EMOTIONS)} acted emotions in a spoken sentence.",
            "limits": ["Emotions that people act are not emotions that people have."],
        }


if __name__ == "__main__":
    _run.main(Experiment, CONFIG, PRESETS)
