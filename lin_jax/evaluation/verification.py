"""How well a speaker encoder tells speakers apart: error rates over trials, pairs of recordings.

Shape letters: B recordings, N trials, E embedding.
"""

import dataclasses
import pathlib
import types
from collections.abc import Mapping, Sequence

import numpy as np

from lin_jax import metrics
from lin_jax.audio import files
from lin_jax.bundles import Verifier
from lin_jax.errors import AudioError, ConfigError
from lin_jax.evaluation.conditions import NoiseReader
from lin_jax.reporting import plots
from lin_jax.scoring import ScoringBackend

PRIORS = (0.01, 0.05)  # of the same speaker, for the detection cost


def embed(bundle: Verifier, recordings: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of recordings, and whether their band is narrow.

    Args:
        bundle: the verifier.
        recordings: paths, or waveforms at the rate of the bundle's front end (B).

    Returns:
        [B, E], NaN for one that cannot be read, or holds too little sound; and [B] bool.
    """
    voices = list(bundle.embed_all(recordings, bundle.frontend.sample_rate))
    nobody = np.full(bundle.embedding_size, np.nan, np.float32)
    embeddings = [nobody if isinstance(v, AudioError) else v.embedding for v in voices]
    narrow = [not isinstance(v, AudioError) and v.narrow for v in voices]
    return np.stack(embeddings), np.array(narrow)


def systems(bundle: Verifier) -> dict[str, ScoringBackend]:
    """Other ways to compare its embeddings, by name: cosines, and either part of a fused bundle."""
    backends = {"cosine": ScoringBackend()}
    if bundle.fused:
        backends |= {
            name: dataclasses.replace(bundle.backend, fusion_weight=weight)
            for name, weight in (("network", 0.0), ("functionals", 1.0))
        }
    return backends


def evaluate(
    bundle: Verifier,
    embeddings,
    trials: metrics.Trials,
    groups: Mapping[str, np.ndarray] = types.MappingProxyType({}),
    narrow=None,
) -> tuple[dict, np.ndarray]:
    """Error rates of a bundle, and of the other `systems`, over trials of held-out speakers.

    Args:
        bundle: the verifier.
        embeddings: of the recordings, by `embed` [B, E].
        trials: pairs of them; those with an unknown embedding are left out.
        groups: recordings [B] bool by name, among whose trials are measured besides.
        narrow: recordings whose band is narrow [B] bool; None is none.

    Returns:
        The results: "left_out", how many recordings have no embedding; "all", with the errors at
        the bundle's threshold besides, "same_sex", and each of `systems`, see `error_rates`;
        "groups", like "all", without those that have trials of one kind only; and the scores [N],
        NaN where a trial is left out.
    """
    known = ~np.isnan(embeddings[:, 0])
    everything, trials = trials, trials.of(known)
    scores = bundle.backend.scores(embeddings, trials.pairs, narrow)
    results = {
        "speakers": len(np.unique(trials.speakers)),
        "left_out": int(np.sum(~known)),
        "all": _at_threshold(bundle, scores, trials),
        "same_sex": error_rates(scores, trials, trials.same_sex),
    }
    for name, backend in systems(bundle).items():
        results[name] = error_rates(backend.scores(embeddings, trials.pairs, narrow), trials)
    within = {name: mask[trials.pairs].all(axis=1) for name, mask in groups.items()}
    rates = {name: _at_threshold(bundle, scores, trials, mask) for name, mask in within.items()}
    results["groups"] = {name: each for name, each in rates.items() if each}
    row = np.full(len(everything.pairs), np.nan)
    row[known[everything.pairs].all(axis=1)] = scores
    return results, row


def by_condition(
    bundle: Verifier, recordings: Sequence[np.ndarray], trials: metrics.Trials, config
) -> dict[str, dict]:
    """Error rates where both sides of every trial are recorded under a condition.

    Args:
        bundle: the verifier.
        recordings: waveforms at the rate of the bundle's front end (B).
        trials: pairs of them.
        config: the conditions, a `ConditionsConfig` with a folder of noises if there are SNRs.

    Returns:
        By name "left_out", how many recordings have no embedding, and the errors at the bundle's
        threshold besides those of `error_rates`; not for "clean".

    Raises:
        ConfigError: SNRs without noises.
        AudioError: no noises in that folder.
    """
    rate, noises = bundle.frontend.sample_rate, config.noises()
    if config.snrs and not noises:
        raise ConfigError("eval.snrs: no noises to add: name a folder with --config.eval.noise")
    results = {}
    for name, change in config.conditions().items():
        if name == "clean":
            continue
        reader = NoiseReader(noises, rate)
        changed = (change(samples, rate, reader.draw()) for samples in recordings)
        waveforms = [files.resample(samples, source, rate) for samples, source in changed]
        embeddings, narrow = embed(bundle, waveforms)
        known = ~np.isnan(embeddings[:, 0])
        kept = trials.of(known)
        scores = bundle.backend.scores(embeddings, kept.pairs, narrow)
        results[name] = {"left_out": int(np.sum(~known))} | _at_threshold(bundle, scores, kept)
    return results


def _at_threshold(bundle: Verifier, scores, trials: metrics.Trials, mask=None) -> dict[str, float]:
    """The `error_rates` and, if there are any, both errors at the bundle's threshold."""
    mask = np.ones(len(scores), bool) if mask is None else mask
    rates = error_rates(scores, trials, mask)
    accepted, same = scores[mask] >= bundle.threshold, trials.same[mask]
    return rates and rates | {
        "speakers": len(np.unique(trials.speakers[mask])),
        "false_accept": float(np.mean(accepted[~same])),
        "false_reject": float(np.mean(~accepted[same])),
    }


def error_rates(scores, trials: metrics.Trials, mask=None) -> dict[str, float]:
    """Equal error rate with its 95 % interval over speakers, and minimum detection costs.

    Args:
        scores: of the trials [N].
        trials: the pairs.
        mask: which of them count [N] bool; None is all.

    Returns:
        "trials", "same", "eer", "eer_low", "eer_high" and "min_dcf_…"; nothing where trials of one
        kind are missing.
    """
    mask = np.ones(len(scores), bool) if mask is None else mask
    scores, same, speakers = scores[mask], trials.same[mask], trials.speakers[mask]
    if same.all() or not same.any():
        return {}
    low, high = metrics.bootstrap_trials(
        scores, same, speakers, lambda *drawn: metrics.equal_error_rate(*drawn)[0]
    )
    rates = {"eer": metrics.equal_error_rate(scores, same)[0], "eer_low": low, "eer_high": high}
    costs = {f"min_dcf_{prior}": metrics.min_dcf(scores, same, prior) for prior in PRIORS}
    return {"trials": len(scores), "same": int(same.sum()), **rates, **costs}


def summary(corpus: str, results: Mapping) -> str:
    """The error rates of a corpus, a line for all, each group and each condition."""
    parts = {"": results["all"]} | results["groups"] | results.get("conditions", {})
    return "\n".join(
        f"{corpus}{name and ', ' + name}: EER {rates['eer']:.2%} ({rates['eer_low']:.2%} - "
        f"{rates['eer_high']:.2%}), {rates['false_accept']:.1%} of the impostors accepted, "
        f"{rates['false_reject']:.1%} of the same rejected, {rates['speakers']} speakers, "
        f"{results['protocol']}"
        for name, rates in parts.items()
    )


def card_metrics(results: Mapping) -> dict:
    """The metrics that a card quotes, by corpus; see `lin_jax.bundles.card`."""
    return {
        f"{corpus}, {each['speakers']} speakers, {each['protocol']}": {
            "equal error rate": {
                "value": each["all"]["eer"],
                "low": each["all"]["eer_low"],
                "high": each["all"]["eer_high"],
            },
            "same sex only": each["same_sex"].get("eer"),
            "false accepts": each["all"]["false_accept"],
            "false rejects": each["all"]["false_reject"],
        }
        for corpus, each in results["corpora"].items()
    }


def report(
    corpus: str,
    scores,
    trials: metrics.Trials,
    embeddings,
    speakers: Sequence[str],
    threshold: float,
    folder: pathlib.Path,
) -> dict[str, np.ndarray]:
    """Draw the DET curves, the scores and a projection of the embeddings of a corpus.

    Args:
        corpus: its name.
        scores: of the trials [N].
        trials: the pairs.
        embeddings: [B, E].
        speakers: who speaks each [B].
        threshold: that is marked.
        folder: where the pictures are written.

    Returns:
        The pictures as pixels, by name.
    """
    known = ~np.isnan(embeddings[:, 0])
    trials, scores = trials.of(known), scores[~np.isnan(scores)]
    curves = {"all pairs": metrics.det_curve(scores, trials.same)[:2]}
    kept = trials.same_sex
    if 0 < trials.same[kept].sum() < kept.sum():
        curves["same sex"] = metrics.det_curve(scores[kept], trials.same[kept])[:2]
    drawn = {
        "det": plots.plot_det(curves, folder / f"{corpus}_det.png"),
        "scores": plots.plot_scores(
            scores, trials.same, folder / f"{corpus}_scores.png", threshold=threshold
        ),
        "projection": plots.plot_projection(
            embeddings[known], list(np.array(speakers)[known]), folder / f"{corpus}_projection.png"
        ),
    }
    return {f"{corpus}/{name}": plots.pixels(figure) for name, figure in drawn.items()}
