"""How often a classifier is right, and how well its probabilities hold, on people it was not trained on.

Shape letters: B clips, C classes.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lin_jax import calibration, metrics
from lin_jax.audio import files
from lin_jax.bundles import Classifier
from lin_jax.evaluation.conditions import Condition, NoiseReader
from lin_jax.reporting import plots

TITLES = {
    "uar": "unweighted average recall",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "calibration_error": "calibration error",
    "worst_recall": "lowest recall",
}


def predict(
    bundle: Classifier,
    paths: Sequence[str] | np.ndarray,
    speakers: Sequence[str] | np.ndarray,
    under: Mapping[str, Condition],
    noises: Sequence[str] = (),
    *,
    per_speaker: int = 4,
) -> dict[str, np.ndarray]:
    """Probabilities of recordings under some conditions.

    Args:
        bundle: the classifier.
        paths: of the recordings (B).
        speakers: who speaks each (B).
        under: the conditions, of `ConditionsConfig`.
        noises: paths of recordings of noise, which must not have been trained on either.
        per_speaker: clips of a speaker, the first ones, that are tried under other conditions than
            "clean".

    Returns:
        Of each condition [B, C]; NaN for a clip that was not tried under it.
    """
    from tqdm import tqdm

    rate = bundle.frontend.sample_rate
    reader = NoiseReader(noises, rate)
    rows = {name: np.full((len(paths), len(bundle.labels)), np.nan) for name in under}
    for b, path in enumerate(tqdm(paths, unit="clip", leave=False, disable=None)):
        samples, _ = files.read(path, rate)
        noise = reader.draw()
        seen = list(speakers[:b]).count(speakers[b])
        for name, change in under.items():
            if name == "clean" or seen < per_speaker:
                prediction = bundle.predict(*change(samples, rate, noise))
                # Without an answer every class is as likely.
                rows[name][b] = list(prediction.probabilities.values()) or 1 / len(bundle.labels)
    return rows


def evaluate(
    probabilities: Mapping[str, np.ndarray],
    labels,
    speakers,
    names: Sequence[str],
    groups: Mapping[str, np.ndarray],
    *,
    calibrated_by=None,
    unsure_below: float = 0.0,
) -> tuple[dict, dict[str, np.ndarray]]:
    """Metrics of what `predict` found, whose temperature is fitted first.

    Args:
        probabilities: by condition [B, C], "clean" among them; of temperature 1.
        labels: true classes [B] int.
        speakers: who speaks each [B].
        names: of the classes (C).
        groups: clips [B] bool by name; the first is what the results are mainly of, and what the
            other conditions are measured on.
        calibrated_by: clips by which the temperature is fitted [B] bool; None is all.
        unsure_below: probability below which the answer is "unsure".

    Returns:
        The results: those of `measure` on the first group, "temperature", "unsure_below", and those
        of each of the other "groups" and "conditions". And the tempered probabilities.
    """
    labels, speakers = np.asarray(labels), np.asarray(speakers)
    sure = np.ones(len(labels), bool) if calibrated_by is None else calibrated_by
    logits = {name: np.log(rows + 1e-12)[None] for name, rows in probabilities.items()}
    temperature = calibration.fit_temperature(logits["clean"][:, sure], labels[sure])
    tempered = {
        name: calibration.mean_probabilities(rows, temperature) for name, rows in logits.items()
    }

    def of(condition, mask):
        rows = tempered[condition]
        chosen = mask & tried[condition]
        return measure(rows[chosen], labels[chosen], speakers[chosen], names, unsure_below)

    tried = {name: np.isfinite(rows[:, 0]) for name, rows in tempered.items()}
    first, *others = groups
    clean = tempered["clean"][sure]
    results = of("clean", groups[first]) | {
        "temperature": temperature,
        "unsure_below": unsure_below,
        "calibration_error": metrics.expected_calibration_error(clean, labels[sure]),
        "groups": {name: of("clean", groups[name]) for name in others if groups[name].any()},
        "conditions": {
            name: of(name, groups[first])
            for name in tempered
            if name != "clean" and (tried[name] & groups[first]).any()
        },
    }
    return results, tempered


def measure(probabilities, labels, speakers, names: Sequence[str], unsure_below: float) -> dict:
    """What counts of some clips.

    Args:
        probabilities: [B, C].
        labels: true classes [B] int.
        speakers: who speaks each [B].
        names: of the classes (C).
        unsure_below: probability below which the answer is "unsure".

    Returns:
        "speakers" and "clips", their numbers; "uar", "accuracy", both with 95 % intervals over the
        speakers as "…_low" and "…_high", "macro_f1", "calibration_error", "recalls" by class,
        "worst_recall"; "answered", the share of clips whose answer is a class, and
        "answered_accuracy"; "speaker_accuracy", the share of speakers who are right in the mean of
        their clips, and "accuracy_by_speaker".
    """
    predicted = probabilities.argmax(-1)
    by_speaker = metrics.confusion_by_speaker(labels, predicted, speakers, len(names))
    matrices, matrix = list(by_speaker.values()), sum(by_speaker.values())
    recalls = metrics.recalls(matrix)
    means = {name: probabilities[speakers == name].mean(0).argmax() for name in by_speaker}
    answered = probabilities.max(-1) >= unsure_below
    right = predicted == labels
    results = {"speakers": len(by_speaker), "clips": len(labels)}
    for name, metric in (("uar", metrics.uar), ("accuracy", metrics.accuracy)):
        low, high = metrics.bootstrap_interval(matrices, lambda x, of=metric: of(x.sum(0)))
        results |= {name: metric(matrix), f"{name}_low": low, f"{name}_high": high}
    return results | {
        "macro_f1": metrics.macro_f1(matrix),
        "calibration_error": metrics.expected_calibration_error(probabilities, labels),
        "worst_recall": float(np.nanmin(recalls)),
        "recalls": {
            name: recall
            for name, recall in zip(names, recalls.tolist(), strict=True)
            if not np.isnan(recall)
        },
        "answered": float(answered.mean()),
        "answered_accuracy": float(right[answered].mean()) if answered.any() else 0.0,
        "speaker_accuracy": float(
            np.mean([means[name] == counts.sum(1).argmax() for name, counts in by_speaker.items()])
        ),
        "accuracy_by_speaker": {
            name: metrics.accuracy(confusion) for name, confusion in by_speaker.items()
        },
    }


def over_runs(predicted, labels, folds, names: Sequence[str]) -> dict:
    """Unweighted average recalls of several runs of a cross-validation, as papers quote them.

    Args:
        predicted: the class of each clip in each run [R, B] int.
        labels: true classes [B] int.
        folds: the fold that tests each clip [B] int.
        names: of the classes (C).

    Returns:
        "runs" [R], with all folds pooled, their "mean" and "deviation" (that of the population);
        "folds", of each the mean over runs, and "fold_deviation".
    """

    def uar(run, mask):
        return metrics.uar(metrics.confusion_matrix(labels[mask], run[mask], len(names)))

    runs = [uar(run, np.ones(len(labels), bool)) for run in predicted]
    masks = [folds == fold for fold in np.unique(folds)]
    by_fold = [float(np.mean([uar(run, mask) for run in predicted])) for mask in masks]
    return {
        "runs": runs,
        "mean": float(np.mean(runs)),
        "deviation": float(np.std(runs)),
        "folds": by_fold,
        "fold_deviation": float(np.std(by_fold)),
    }


def summary(results: Mapping) -> Iterator[str]:
    """The metrics, a line for all, each group and each condition."""
    parts = {"all": results} | results["groups"] | results["conditions"]
    for name, values in parts.items():
        shown = (f"{metric} {values[metric]:.3f}" for metric in TITLES if metric in values)
        counts = f"{values['speakers']} speakers, {values['clips']} clips"
        yield f"{name:16} {counts}: {', '.join(shown)}"
    if runs := results.get("by_seed"):
        yield (
            f"{len(runs['runs'])} seeds, each alone: unweighted average recall {runs['mean']:.3f} ± "
            f"{runs['deviation']:.3f} over seeds, at most {max(runs['runs']):.3f}; "
            f"± {runs['fold_deviation']:.3f} over {len(runs['folds'])} folds"
        )


def card_metrics(results: Mapping) -> dict:
    """The metrics that a card quotes; see `lin_jax.bundles.card`."""

    def row(values):
        return {
            title: {
                "value": values[name],
                "low": values[f"{name}_low"],
                "high": values[f"{name}_high"],
            }
            if f"{name}_low" in values
            else values[name]
            for name, title in TITLES.items()
        }

    parts = {"held-out speakers": results} | results["conditions"] | results["groups"]
    return {name: row(values) for name, values in parts.items()}


def report(
    results: Mapping, probabilities, labels, names: Sequence[str], folder: pathlib.Path
) -> dict[str, np.ndarray]:
    """Draw the confusion matrix, reliability, and accuracies by speaker, group and condition.

    Args:
        results: of `evaluate`.
        probabilities: of the clips that are mainly evaluated, clean and tempered [B, C].
        labels: their true classes [B] int.
        names: of the classes (C).
        folder: where the pictures are written.

    Returns:
        The pictures as pixels, by name.
    """
    matrix = metrics.confusion_matrix(labels, probabilities.argmax(-1), len(names))
    parts = results["conditions"] | results["groups"]
    bars = {"clean": results["accuracy"]} | {name: each["accuracy"] for name, each in parts.items()}
    confidence, accuracy, count = metrics.reliability(probabilities, labels)
    drawn = {
        "confusion": plots.plot_confusion(matrix, names, folder / "confusion.png"),
        "reliability": plots.plot_reliability(
            confidence, accuracy, count, folder / "reliability.png"
        ),
        "accuracy": plots.plot_bars(bars, folder / "accuracy.png", mark=results["accuracy"]),
        "accuracy_by_speaker": plots.plot_bars(
            results["accuracy_by_speaker"],
            folder / "accuracy_by_speaker.png",
            mark=results["accuracy"],
        ),
    }
    return {name: plots.pixels(figure) for name, figure in drawn.items()}
