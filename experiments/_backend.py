"""What a verifier needs beside its network: cohort, PLDA, functionals, thresholds, and what is no voice.

Shape letters: B clips, E embedding, D functionals, S speakers.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from data_pipelines import loaders, trials
from data_pipelines.feature_set import FeatureSet, Segments, Subset, mean_std
from data_pipelines.loaders import LoaderConfig
from lin_jax import calibration, metrics, scoring
from lin_jax.audio import files, mixing
from lin_jax.audio.augment import AugmentConfig
from lin_jax.bundles import Verifier
from lin_jax.errors import AudioError, CorpusError, FeatureError
from lin_jax.evaluation import verification as evaluation
from lin_jax.models.speaker_encoder import FunctionalEncoder
from lin_jax.tasks.preprocessing import preprocess
from lin_jax.vectors import unit_vectors

CLIP_SECONDS = (1, 2, 3, 5)  # lengths that clips are cut to, to see how much speech it takes
MAX_FALSE_ACCEPTS = 0.05  # at the threshold, in the corpus of the validation that accepts the most
SPEECH_SECONDS = 1.5  # speech is separated from noise by whole recordings and pieces of this length
MAX_SPEECH = 1000  # clips of speech to learn that from
NARROW_SECONDS = 6.0  # of a clip in the narrow cohort
FUNCTIONALS = {"feature": "functionals", "n_mels": 40, "n_mfcc": 16}
VARIED_SECONDS, VARIED_EPOCHS = 3.0, 2  # augmented crops, by which functionals vary in a speaker
FUNCTIONAL_SHRINKAGE = 0.3  # of PLDA on functionals, which no network has fitted to speakers


def waveforms(clips: FeatureSet, indices: Sequence[int] | None = None) -> list[np.ndarray]:
    """Waveforms of some clips, or of all."""
    return [clips[int(i)]["waveform"] for i in (range(len(clips)) if indices is None else indices)]


def verifier(name: str, network, frontend, params, mean, std, size: int, **settings) -> Verifier:
    """A verifier that takes everything for speech and has no threshold yet; E is `size`."""
    unset = {"speech_weight": np.zeros(size, np.float32), "speech_bias": 10.0}
    unset |= {"threshold": 0.0, "slope": 1.0, "offset": 0.0}
    return Verifier(name, network, frontend, params, mean, std, **unset, **settings)


def with_scores(bundle: Verifier, embeddings, speakers, cohort, **settings) -> Verifier:
    """A verifier whose scores the clips of training speakers teach; see `ScoringBackend.fit`."""
    backend = scoring.ScoringBackend.fit(embeddings, speakers, cohort, **settings)
    parts = ("mean", "axes", "between") if backend.plda else ()
    plda = {f"plda_{part}": getattr(backend.plda, part) for part in parts}
    return dataclasses.replace(bundle, cohort=backend.cohort, top=backend.top, **plda)


def with_narrow_cohort(bundle: Verifier, clips: FeatureSet, train) -> Verifier:
    """A verifier, and what it is fused with, with a cohort [2 S, E] of voices by narrow channels.

    Each training speaker is in it after a channel of 8 kHz, and by telephone: with the first alone,
    strangers by telephone are accepted several times as often.
    """
    rate = clips.frontend.sample_rate
    firsts = waveforms(clips, train[np.unique(clips.speakers[train], return_index=True)[1]])
    firsts = [x[: round(NARROW_SECONDS * rate)] for x in firsts]
    narrow = [mixing.narrowband(x, rate) for x in firsts]
    narrow += [files.resample(*mixing.telephone(x, rate), rate) for x in firsts]
    embeddings, _ = evaluation.embed(bundle, narrow)
    embeddings = embeddings[~np.isnan(embeddings[:, 0])]
    size, fused = len(bundle.speech_weight), bundle.fused
    if fused:
        fused = dataclasses.replace(fused, narrow_cohort=unit_vectors(embeddings[:, size:]))
    cohort = scoring.first(embeddings, size if fused else None)
    return dataclasses.replace(bundle, fused=fused, narrow_cohort=cohort)


def directions(embeddings, speakers) -> np.ndarray:
    """The mean direction of each speaker's clips: [B, E] to unit vectors [S, E]."""
    return unit_vectors(metrics.mean_by_speaker(embeddings, speakers)[1])


def fit_functionals(
    clips: FeatureSet, train, augment: AugmentConfig, loader: LoaderConfig, seed: int, **settings
) -> Verifier:
    """A verifier by functionals, on the axes along which those of training clips differ most.

    Args:
        clips: the feature set, of waveforms.
        train: its clips to learn from.
        augment: how clips are varied, so that PLDA knows what is not the speaker's.
        loader: how they are read.
        seed: of the variation.
        **settings: of `ScoringBackend.fit`.
    """
    frontend = dataclasses.replace(clips.frontend, **FUNCTIONALS)
    loader = dataclasses.replace(loader, clips_per_speaker=0, crop_seconds=VARIED_SECONDS)
    extract = jax.jit(
        lambda batch, key: preprocess(frontend, 0.0, 1.0, batch, augment.of_waveforms, key)[0][:, 0]
    )
    plain = loaders.make_loader(clips, train, None, loader, train=False)
    varied = loaders.make_loader(clips, train, None, loader, train=True, epochs=VARIED_EPOCHS)
    keyed = ((batch, jax.random.key(number)) for number, batch in enumerate(varied, seed))
    rows, indices = [], []
    for batch, key in itertools.chain(((batch, None) for batch in plain), keyed):
        real = batch["weight"] > 0
        rows.append(extract({name: batch[name] for name in ("waveform", "length")}, key)[real])
        indices.append(batch["index"][real])
    x, indices = np.concatenate(rows).astype(np.float64), np.concatenate(indices)  # [B, D], [B]
    mean, std = mean_std(len(x), x.sum(axis=0), (x**2).sum(axis=0))
    x, limit = (x - mean) / std, FunctionalEncoder.limit
    kernel, bias = scoring.principal_axes(x.clip(-limit, limit), FunctionalEncoder.embedding)
    network, params = FunctionalEncoder(len(bias)), {"Dense_0": {"kernel": kernel, "bias": bias}}
    embeddings, speakers = network.apply({"params": params}, x[:, None], None), clips.speakers
    size, natural = len(bias), slice(len(train))
    bundle = verifier("functionals", network, frontend, {"params": params}, mean, std, size)
    cohort = directions(embeddings[natural], speakers[indices[natural]])
    shrinkage = {"shrinkage": FUNCTIONAL_SHRINKAGE}
    return with_scores(bundle, embeddings, speakers[indices], cohort, **settings | shrinkage)


def calibrate(bundle: Verifier, heldout: Sequence[tuple[np.ndarray, metrics.Trials]]) -> Verifier:
    """A verifier with threshold and probabilities by embeddings and trials of each corpus."""
    size = len(bundle.speech_weight)
    heldout = [(x, trials.of(~np.isnan(x[:, 0]))) for x, trials in heldout]
    scored = [(bundle.backend.scores(x, trials.pairs), trials.same) for x, trials in heldout]
    fused = bundle.fused
    if fused:
        parts = [(unit_vectors(x[:, size:]), trials) for x, trials in heldout]
        fused = calibrate(fused, parts)
    chosen = calibration.fit_threshold(scored, MAX_FALSE_ACCEPTS)
    return dataclasses.replace(bundle, fused=fused, **chosen)


def calibration_of(bundle: Verifier) -> dict:
    """Threshold, slope and offset of a verifier, and as "fused" those of the one that it is fused with."""
    chosen = {name: getattr(bundle, name) for name in ("threshold", "slope", "offset")}
    return chosen | ({"fused": calibration_of(bundle.fused)} if bundle.fused else {})


def take_calibration(bundle: Verifier, chosen: dict) -> Verifier:
    """A verifier with what `calibration_of` found of another one."""
    fused = bundle.fused and take_calibration(bundle.fused, chosen["fused"])
    chosen = {name: value for name, value in chosen.items() if name != "fused"}
    return dataclasses.replace(bundle, fused=fused, **chosen)


def fit_speech_gate(bundle: Verifier, noise: FeatureSet, clips: FeatureSet, seed: int) -> Verifier:
    """A verifier that has learnt what is no voice, from recordings and pieces of both kinds."""
    speech = np.random.default_rng(seed).permutation(len(clips))[:MAX_SPEECH]
    vectors, is_speech = [], []
    for kind, (chosen, indices) in enumerate(((noise, np.arange(len(noise))), (clips, speech))):
        pieces = Segments(chosen, indices, SPEECH_SECONDS, max_per_clip=4)
        sources = waveforms(chosen, indices) + waveforms(pieces)
        voices = bundle.embed_all(sources, chosen.frontend.sample_rate)
        embeddings = [voice.embedding for voice in voices if not isinstance(voice, AudioError)]
        vectors += embeddings
        is_speech += [bool(kind)] * len(embeddings)
    return _with_speech(bundle, np.stack(vectors), np.array(is_speech))


def _with_speech(bundle: Verifier, vectors, is_speech) -> Verifier:
    size, fused = len(bundle.speech_weight), bundle.fused
    if fused:
        fused = _with_speech(fused, unit_vectors(vectors[:, size:]), is_speech)
    inputs = scoring.first(vectors, size if fused else None)
    weight, bias = calibration.fit_logistic(inputs, is_speech, decay=1e-4)
    return dataclasses.replace(bundle, fused=fused, speech_weight=weight, speech_bias=bias)


def is_single(clips: FeatureSet, indices) -> bool:
    """Whether each speaker has one clip only."""
    return len(np.unique(clips.speakers[indices])) == len(indices)


def make_trials(
    clips: FeatureSet, indices, seconds: float, known
) -> tuple[FeatureSet, metrics.Trials, str]:
    """All pairs of clips of one corpus, or of pieces where each speaker has one clip only.

    Args:
        clips: the feature set.
        indices: of the clips.
        seconds: of a piece.
        known: speakers that were trained on, of whom there must be none.

    Returns:
        The clips or pieces, the trials, and what they are in words.
    """
    single, chosen = is_single(clips, indices), Subset(clips, indices)
    if single:
        chosen = Segments(clips, indices, seconds)
    pairs = trials.all_pairs(chosen, np.arange(len(chosen)), known)
    return chosen, pairs, f"same recording, {seconds:g} s pieces" if single else "whole clips"


def by_length(bundle: Verifier, clips: FeatureSet, indices, known) -> dict[str, dict]:
    """Equal error rates of the first seconds of clips, or of all pieces of single ones.

    Args:
        bundle: the verifier.
        clips: the feature set.
        indices: of the clips of one corpus.
        known: speakers that were trained on, of whom there must be none.
    """
    results, single = {}, is_single(clips, indices)
    for seconds in CLIP_SECONDS:
        try:
            pieces = Segments(clips, indices, seconds, max_per_clip=None if single else 1)
            pairs = trials.all_pairs(pieces, np.arange(len(pieces)), known)
        except (CorpusError, FeatureError):  # too few clips are that long
            continue
        embeddings, narrow = evaluation.embed(bundle, waveforms(pieces))
        pairs = pairs.of(~np.isnan(embeddings[:, 0]))
        eer, _ = metrics.equal_error_rate(
            bundle.backend.scores(embeddings, pairs.pairs, narrow), pairs.same
        )
        speakers = len(np.unique(pairs.speakers))
        results[str(seconds)] = {"clips": len(pieces), "speakers": speakers, "eer": eer}
    return results


def corpus_batches(clips: FeatureSet, indices, config) -> Iterator[dict]:
    """The same crops every time, each batch of one corpus: pairs of two corpora are easy.

    Args:
        clips: the feature set.
        indices: of the clips to watch a training by.
        config: with `loader`, and `eval_batches` of each corpus.
    """
    numbers, _ = clips.labels("speaker")
    count = config.loader.clips_per_speaker or 2
    for corpus in np.unique(clips.corpora[indices]):
        chosen = indices[clips.corpora[indices] == corpus]
        speakers = len(np.unique(clips.speakers[chosen]))
        if speakers < 2:
            continue
        size = min(config.loader.batch_size // count, speakers) * count
        settings = dataclasses.replace(
            config.loader, batch_size=size, clips_per_speaker=count, seed=0
        )
        with contextlib.closing(
            loaders.make_loader(clips, chosen, numbers, settings, train=True)
        ) as stream:
            yield from itertools.islice(stream, config.eval_batches)
