r"""Gender from the voice, or that nobody speaks: a residual classifier on MFCC, of several corpora and of noises.

    for each of librispeech, kaldi, ravdess, noise (recorded), noise --audio-dir runs/noise --generate 240:
    python -m data_pipelines librispeech --audio-dir LIBRISPEECH --out features/gender/librispeech --store=waveform \
        --frontend.feature=mfcc --frontend.n_mfcc=40 --frontend.n_fft=1024 --frontend.win_length=1024 \
        --frontend.hop_length=256 --frontend.level=rms --frontend.level_db=-25
    and again, into features/functionals/…, with --frontend.feature=functionals --frontend.n_mels=40 \
        --frontend.n_mfcc=16 --frontend.win_length=512 and n_fft left out
    python -m experiments.gender --workdir runs/gender --features features/gender/librispeech,features/gender/kaldi,… \
        --config.functionals=features/functionals/librispeech,features/functionals/kaldi,…

--mode=train     5 folds of speakers, each with a network on frames and one on functionals, and live curves of the
                 speakers that these do not learn from
--mode=evaluate  what `lin gender` would say of the speakers that its networks never heard: adults, children, each
                 corpus, in recorded noise, over the telephone, how well its probabilities hold
--mode=ship      a bundle trained on everybody, calibrated on the results of evaluate
"""

import json
from pathlib import Path

import numpy as np

from data_pipelines import splits
from data_pipelines.corpora import NO_SPEECH, SEXES, UNKNOWN
from experiments import _run
from experiments._classification import Config, Experiment
from lin_jax import calibration, metrics
from lin_jax.audio import files, mixing
from lin_jax.audio.augment import AugmentConfig
from lin_jax.errors import FeatureError
from lin_jax.reporting import plots
from lin_jax.tasks.classification import ClassificationConfig
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

NAMES = (*SEXES.values(), NO_SPEECH)
FOLDS = 5
CHILD = 14  # years: the voices of younger boys have not broken
SNRS = (20, 10, 0)  # dB
PER_SPEAKER = 4  # clips of a speaker that are heard in noise and over the telephone too
UNSURE_BELOW = 0.75  # probability: above it the answers are hardly righter, and fewer are told

CONFIG = Config(
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
)
CONFIG.loader.crop_seconds = 2.5

FUNCTIONALS = Config(
    network="shallow",
    task=CONFIG.task,
    augment=CONFIG.augment.of_waveforms,
    optim=OptimConfig(
        learning_rate=3e-3, warmup_steps=100, weight_decay=0.1, clip_norm=5.0, ema_decay=0.99
    ),
    train=TrainConfig(num_steps=600, eval_every=300, checkpoint_every=300),
)
FUNCTIONALS.loader.crop_seconds = 3.0


def train(config: Config, features: Path, workdir: Path):
    """One network a fold, judged on whole clips as they are."""
    experiment = _open(config, features)
    experiment.cross_validate(splits.k_fold(experiment.speakers, FOLDS), workdir / "train")


def evaluate(config: Config, features: Path, workdir: Path):
    """What the bundles of the folds say of the recordings of speakers that they never heard, and of noises."""
    experiment = _open(config, features)
    folds = splits.k_fold(experiment.speakers, FOLDS)
    heard = {
        condition: np.full((len(experiment.labels), len(NAMES)), np.nan)
        for condition in _conditions()
    }
    for split, bundle in zip(
        folds, experiment.fold_bundles("gender", folds, workdir / "train"), strict=True
    ):
        for condition, index, shares in _hear(experiment, bundle, split.test):
            heard[condition][index] = shares
    results = _judge(experiment, heard, workdir / "evaluate")
    results |= {"protocol": folds[0].protocol, "seeds": config.seeds}
    (workdir / "evaluate/results.json").write_text(json.dumps(results, indent=2) + "\n")


def ship(config: Config, features: Path, workdir: Path):
    """A network that heard everybody, calibrated and described by the results of evaluate in the same workdir."""
    _open(config, features).ship(
        workdir / "evaluate",
        workdir / "ship",
        "gender",
        summary="Tells whether a voice sounds female or male, or that nobody speaks; below "
        f'{UNSURE_BELOW:.0%} it says "unsure".',
        limits=["It classifies how a voice sounds, not who somebody is; children sound alike."],
    )


def _open(config, features) -> Experiment:
    """The clips whose sex is known, and the sounds in which nobody speaks; children are judged but not learnt from."""
    experiment = Experiment(config, features, "sex", NAMES, FUNCTIONALS)
    for one in filter(None, (experiment, experiment.fused)):
        one.learnt = ~_children(one)
    missing = set(range(len(NAMES))) - set(experiment.labels)
    if missing:
        raise FeatureError(
            f"{features}: no clip is {NAMES[missing.pop()]!r}: add a feature set that has some"
        )
    return experiment


def _children(experiment):
    """Which clips are a child's: the voices of boys and girls sound alike, and would blur those of adults [B] bool."""
    ages = [row["labels"].get("age", UNKNOWN) for row in experiment.clips.rows]
    return np.array([age.isdigit() and int(age) < CHILD for age in ages])


def _conditions():
    """Under which conditions a clip is judged: a function of its samples, their rate, and noise of the same length."""

    def in_noise(snr):
        return lambda samples, rate, noise: (mixing.add_noise(samples, noise, snr), rate)

    clean = {"clean": lambda samples, rate, noise: (samples, rate)}
    telephone = {"telephone": lambda samples, rate, noise: mixing.telephone(samples, rate)}
    return clean | {f"noise {snr} dB": in_noise(snr) for snr in SNRS} | telephone


def _hear(experiment, bundle, indices):
    """Probabilities of each clip under each condition; the noises are such as the network never heard either."""
    from tqdm import tqdm

    rate, rng = bundle.frontend.sample_rate, np.random.default_rng(0)
    paths = [experiment.clips.rows[index]["path"] for index in indices]
    noises = [
        path
        for path, label in zip(paths, experiment.labels[indices], strict=True)
        if NAMES[label] == NO_SPEECH
    ]
    if not noises:
        raise FeatureError(
            f"a fold of {len(indices)} clips without a noise to hear them in: add noises"
        )
    speakers = list(experiment.speakers[indices])
    for position, index in enumerate(tqdm(indices, unit="clip", leave=False)):
        samples, _ = files.read(paths[position], rate)
        noise, _ = files.read(noises[rng.integers(len(noises))], rate)
        for condition, change in _conditions().items():
            if condition == "clean" or speakers[:position].count(speakers[position]) < PER_SPEAKER:
                changed = change(samples, rate, noise)
                yield condition, index, list(bundle.predict(*changed).probabilities.values())


def _judge(experiment, heard, workdir) -> dict:
    """Figures and plots of what was heard under each condition [B, C], NaN where a clip was not played."""
    labels, speakers = experiment.labels, experiment.speakers
    logits = {condition: np.log(shares + 1e-12)[None] for condition, shares in heard.items()}
    children = _children(experiment)
    sure = ~children  # nobody can be sure of a child
    temperature = calibration.fit_temperature(logits["clean"][:, sure], labels[sure])
    heard = {
        condition: calibration.mean_probabilities(shares, temperature)
        for condition, shares in logits.items()
    }

    nobody = labels == NAMES.index(NO_SPEECH)
    adults = ~nobody & ~children
    corpus = experiment.clips.corpora
    groups = {name: adults & (corpus == name) for name in np.unique(corpus[adults])}
    groups |= {"children": children, "no speech": nobody}

    def figures(condition, chosen):
        return _figures(
            heard[condition], chosen & np.isfinite(heard[condition][:, 0]), labels, speakers
        )

    results = figures("clean", adults) | {
        "temperature": temperature,
        "unsure_below": UNSURE_BELOW,
        "calibration_error": metrics.expected_calibration_error(heard["clean"][sure], labels[sure]),
        "groups": {
            name: figures("clean", chosen) for name, chosen in groups.items() if chosen.any()
        },
        "conditions": {condition: figures(condition, adults) for condition in heard},
    }
    workdir.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(workdir / "predictions.npz", labels=labels, speakers=speakers, **heard)
    matrix = metrics.confusion_matrix(labels, heard["clean"].argmax(-1), len(NAMES))
    plots.plot_confusion(matrix, NAMES, workdir / "confusion.png")
    plots.plot_reliability(
        *metrics.reliability(heard["clean"][sure], labels[sure]), workdir / "reliability.png"
    )
    accuracies = {
        name: each["accuracy"] for name, each in (results["conditions"] | results["groups"]).items()
    }
    plots.plot_bars(
        accuracies, workdir / "accuracy.png", mark=results["accuracy"], mark_label="adults, clean"
    )
    for name, each in (results["conditions"] | results["groups"]).items():
        print(
            f"{name:16}",
            "  ".join(
                f"{key} {value:.3f}" for key, value in each.items() if isinstance(value, float)
            ),
        )
    return results


def _figures(probabilities, chosen, labels, speakers) -> dict:
    """What counts of some clips: how many are right, of the sex that fares worse, and of each speaker together."""
    probabilities, labels, speakers = probabilities[chosen], labels[chosen], speakers[chosen]
    by_speaker = metrics.confusion_by_speaker(
        labels, probabilities.argmax(-1), speakers, len(NAMES)
    )
    low, high = metrics.bootstrap_interval(
        list(by_speaker.values()), lambda drawn: metrics.accuracy(drawn.sum(0))
    )
    matrix = sum(by_speaker.values())
    means = {speaker: probabilities[speakers == speaker].mean(0).argmax() for speaker in by_speaker}
    right = [means[speaker] == own.sum(1).argmax() for speaker, own in by_speaker.items()]
    recalls = metrics.recalls(matrix)
    told = probabilities.max(-1) >= UNSURE_BELOW
    return {
        "speakers": len(by_speaker),
        "clips": len(labels),
        "accuracy": metrics.accuracy(matrix),
        "accuracy_low": low,
        "accuracy_high": high,
        "told": float(np.mean(told)),
        "told_right": float(np.mean((probabilities.argmax(-1) == labels)[told]))
        if told.any()
        else 0.0,
        "worst_recall": float(np.nanmin(recalls)),
        "recalls": {
            name: value
            for name, value in zip(NAMES, recalls.tolist(), strict=True)
            if not np.isnan(value)
        },
        "speaker_accuracy": float(np.mean(right)),
    }


if __name__ == "__main__":
    _run.main(CONFIG, {"train": train, "evaluate": evaluate, "ship": ship})
