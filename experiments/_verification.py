"""What `experiments.verification` does: held-out speakers, the training, the judging on trials, and the bundle.

Shape letters: B clips, N trials, E embedding, S speakers.
"""

import contextlib
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from data_pipelines import features, loaders, splits, trials
from data_pipelines.feature_set import FeatureSet, Segments, Subset, mean_std
from data_pipelines.loaders import LoaderConfig
from experiments import _run
from lin_jax import bundles, calibration, metrics, scoring
from lin_jax.audio import files
from lin_jax.audio.augment import AugmentConfig
from lin_jax.errors import ConfigError, CorpusError, FeatureError
from lin_jax.models.speaker_encoder import FunctionalEncoder, SmallSpeakerEncoder, SpeakerEncoder
from lin_jax.reporting import plots
from lin_jax.tasks.preprocessing import preprocess
from lin_jax.tasks.verification import Verification, VerificationConfig
from lin_jax.training import loop, writers
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

CLIP_SECONDS = (1, 2, 3, 5)  # lengths that clips are cut to, to see how much speech it takes
PRIORS = (0.01, 0.05)  # of the same speaker, for the detection cost
FALSE_ACCEPTS = (
    0.05  # of the strangers at the threshold, in the corpus of the validation that accepts the most
)
SPEECH_SECONDS = (
    1.5  # what is no voice is learnt from whole recordings and from pieces of this length
)
MAX_SPEECH = 1000  # clips of speech to learn it from
TELEPHONE_HZ = 8000  # its sample rate
FUNCTIONALS = {"feature": "functionals", "n_mels": 40, "n_mfcc": 16}
VARIED_SECONDS, VARIED_EPOCHS = (
    3.0,
    2,
)  # of the training clips, how their functionals vary within a speaker
FUNCTIONAL_SHRINKAGE = (
    0.3  # of PLDA on functionals, which no network has fitted to the training speakers
)


RELATIVE = """,
relative to the {cohort} training speakers, as they are or by telephone, that are nearest to either side (AS-norm)"""
FUSED = """
Beside the network stand functionals, statistics of a clip's pitch, loudness, timbre and rhythm, on the axes in which
those of the training clips, also in noise, rooms and narrow bands, differ most. They have
{fusion_weight:.0%} of a score."""


@dataclasses.dataclass
class EncoderConfig:
    """Size of the default network; see `SpeakerEncoder`."""

    widths: tuple[int, ...] = (32, 64, 128, 160)
    blocks: tuple[int, ...] = (0, 1, 1, 1)
    hidden: int = 256
    embedding: int = 192
    dropout: float = 0.0


@dataclasses.dataclass
class Config:
    """Everything the experiment can be told.

    Attributes:
        network: "residual", of the size in `encoder`, or "small", the network of the original
            project.
        init: name or folder of a speaker bundle whose network is of the same size, to go on from.
        hold_out: speakers of each corpus to judge on; at most a fifth of them, so that a tiny
            corpus only trains.
        validation: speakers of each corpus to choose the threshold by; at most a tenth.
        seed: of the choice of speakers.
        eval_batches: batches of each corpus' validation speakers in an evaluation during training.
        segment_seconds: length of the pieces on which a corpus with one clip a speaker is judged.
        plda: whether scores are likelihood ratios that the training speakers' clips teach
            (`scoring.Plda`); else cosines.
        cohort: nearest strangers, among the training speakers, that scores are normalised by
            (AS-norm); 0 leaves them.
        fusion_weight: of what the functionals of whole clips say in a score; 0 leaves it to the network.
        noise: feature set of sounds without speech, from which the bundle learns what is no voice.
    """

    network: str = "residual"
    init: str = ""
    hold_out: int = 25
    validation: int = 12
    seed: int = 0
    eval_batches: int = 4
    segment_seconds: float = 3.0
    plda: bool = True
    cohort: int = 20
    fusion_weight: float = 0.2
    noise: str = ""
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    task: VerificationConfig = dataclasses.field(default_factory=VerificationConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)


class Experiment:
    """One or several corpora, and what can be learnt of their speakers.

    Args:
        config: see `Config`.
        folder: the feature set, or several with commas between them.
    """

    def __init__(self, config: Config, folder: pathlib.Path):
        if config.network not in ("residual", "small"):
            raise ConfigError(f"unknown network {config.network!r}: choose residual or small")
        self.config = config
        self.start = bundles.load(config.init) if config.init else None
        self.clips = features.open_features(folder, self.start and self.start.frontend)
        if config.fusion_weight and self.clips.store != "waveform":
            raise ConfigError(
                f"{folder}: no waveforms to hear functionals in: --store=waveform, or --config.fusion_weight=0"
            )
        self.speakers, self.corpora = self.clips.speakers, self.clips.corpora
        people = self.clips.people
        self.split = splits.hold_out(
            people, self.corpora, config.hold_out, config.validation, seed=config.seed
        )

    def fit(
        self, workdir: pathlib.Path, *, everything: bool = False
    ) -> tuple[Verification, loop.Result]:
        """Train on the training speakers, or on everything; go on, or return at once, where that was done before."""
        config = self.config
        split = splits.Split("all speakers", np.arange(len(self.clips)), *[np.empty(0, int)] * 2)
        split = split if everything else self.split
        task, labels = self.make_task(split.train)
        train = loaders.make_loader(self.clips, split.train, labels, config.loader, train=True)
        watch = (
            (lambda: self._validation_batches(split.validation)) if len(split.validation) else None
        )
        params = None
        if self.start:
            params = task.init(jax.random.key(config.train.seed))["params"]
            params |= {"encoder": _run.start_from(self.start, params["encoder"])}
        return task, _run.fit(config, task, train, watch, workdir, params=params)

    def evaluate(self, trained: pathlib.Path, workdir: pathlib.Path) -> dict:
        """Judge a training on the speakers held out, corpus by corpus.

        Writes results.json, and for each corpus its list of trials and plots.

        Args:
            trained: workdir of the training.
            workdir: where to.
        """
        if not len(self.split.test) or not len(self.split.validation):
            raise ConfigError(
                "no speakers to judge on: raise hold_out and validation, or add a corpus of 10 speakers"
            )
        task, fitted = self.fit(trained)
        known = np.unique(self.speakers[self.split.train])
        ear = self._ear(task, fitted.variables, self.split.train)
        rules = {"cosine": scoring.ScoringBackend()}
        if ear.fused:
            rules |= {
                name: dataclasses.replace(ear.rule, fusion_weight=i)
                for i, name in enumerate(("network", "functionals"))
            }
        heard = [self._trials(ear, own, known) for own in self._by_corpus(self.split.validation)]

        def calibrated(rule):
            return _calibrate(
                [
                    (rule.scores(vectors, listed.pairs), listed.same)
                    for _, _, vectors, listed, _ in heard
                ]
            )

        chosen, others = (
            calibrated(ear.rule),
            {name: calibrated(rule) for name, rule in rules.items()},
        )
        results = {
            "protocol": self.split.protocol,
            "step": fitted.best_step or int(fitted.state.step),
            "train_speakers": len(known),
            "plda": self.config.plda,
            "cohort": self.config.cohort,
            "fusion_weight": self.config.fusion_weight,
            **chosen,
            **others,
            "corpora": {},
        }
        with contextlib.closing(writers.create(workdir, self.config.train.num_steps)) as writer:
            for own in self._by_corpus(self.split.test):
                corpus = self.corpora[own[0]]
                clips, indices, vectors, listed, protocol = self._trials(ear, own, known)
                trials.write(workdir / f"{corpus}_trials.tsv", listed, clips)
                scores = ear.rule.scores(vectors, listed.pairs)
                alone = {name: rule.scores(vectors, listed.pairs) for name, rule in rules.items()}
                figures = {
                    "protocol": protocol,
                    "speakers": len(np.unique(listed.speakers)),
                    "clips": len(indices),
                    "all": _figures(scores, listed) | _errors(scores, listed, chosen),
                    "same_sex": _figures(scores, listed, listed.same_sex),
                    **{
                        name: _figures(one, listed) | _errors(one, listed, others[name])
                        for name, one in alone.items()
                    },
                    "seconds": self._by_length(ear, own, known),
                }
                results["corpora"][str(corpus)] = figures
                curves = {"all pairs": metrics.det_curve(scores, listed.same)[:2]}
                if figures["same_sex"]:
                    kept = listed.same_sex
                    curves["same sex"] = metrics.det_curve(scores[kept], listed.same[kept])[:2]
                names = [name.rpartition("/")[2] for name in clips.speakers[indices]]
                drawn = {
                    "det": plots.plot_det(curves, workdir / f"{corpus}_det.png"),
                    "scores": plots.plot_scores(
                        scores,
                        listed.same,
                        workdir / f"{corpus}_scores.png",
                        threshold=chosen["threshold"],
                    ),
                    "projection": plots.plot_projection(
                        vectors[indices], names, workdir / f"{corpus}_projection.png"
                    ),
                }
                pictures = {
                    f"{corpus}/{name}": plots.pixels(figure) for name, figure in drawn.items()
                }
                writer.write_images(fitted.best_step, pictures)
                eer, low, high = (figures["all"][name] for name in ("eer", "eer_low", "eer_high"))
                print(
                    f"{corpus}: EER {eer:.2%} ({low:.2%} - {high:.2%}), {figures['speakers']} speakers, {protocol}"
                )
        (workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        return results

    def ship(self, workdir: pathlib.Path) -> pathlib.Path:
        """Save the training on all speakers, where there is one, or else that on some, as a bundle.

        Args:
            workdir: of the experiment, with what `evaluate` wrote in the folder of that name.
        """
        results = _run.judged(workdir, "the threshold is in it")
        if not self.config.noise:
            raise ConfigError(
                "what is no voice must be learnt: name a feature set of noises with --config.noise"
            )
        self.config = dataclasses.replace(
            self.config, **{name: results[name] for name in ("plda", "cohort", "fusion_weight")}
        )
        everything = (workdir / "train_all/checkpoints").exists()
        task, fitted = self.fit(
            workdir / ("train_all" if everything else "train"), everything=everything
        )
        chosen = np.arange(len(self.clips)) if everything else self.split.train
        ear = self._ear(task, fitted.variables, chosen)
        bundle = self._bundle("speaker", ear, results)
        metrics = {
            f"{corpus}, {one['speakers']} speakers, {one['protocol']}": {
                "equal error rate": {
                    "value": one["all"]["eer"],
                    "low": one["all"]["eer_low"],
                    "high": one["all"]["eer_high"],
                },
                "same sex only": one["same_sex"].get("eer"),
                "false accepts": one["all"]["false_accept"],
                "false rejects": one["all"]["false_reject"],
            }
            for corpus, one in results["corpora"].items()
        }
        provenance = _run.provenance(
            self.clips,
            chosen,
            "python -m experiments.verification --mode=ship",
            self.config.init,
            summary="Verifies whether two recordings are of the same speaker, and turns a recording "
            "of any length into an embedding of its voice.",
            details=f"Scores are {'log-likelihood ratios (PLDA)' if results['plda'] else 'cosines'}"
            + (
                f", normalised by the nearest {bundle.top} training speakers (AS-norm)"
                * bool(results["cohort"])
            )
            + (f"; functionals have {results['fusion_weight']:.0%} of a score" * bool(ear.fused))
            + ".",
            protocol="Speaker-disjoint; the threshold was chosen on further speakers, as the lowest "
            f"at which {FALSE_ACCEPTS:.0%} of the impostors, or fewer, are accepted in each corpus. "
            f"Trained on {task.num_speakers} speakers, other speeds included.",
            metrics=metrics,
        )
        return bundles.save(
            workdir / "ship/speaker", bundle, provenance=provenance, dtype="float16"
        )

    def _bundle(self, name: str, ear: "_Ear", results: Mapping) -> bundles.Verifier:
        """An ear as a bundle, calibrated by what `evaluate` found, which has also learnt what is no voice."""
        noise = features.open_features(self.config.noise, self.clips.frontend)
        speech = np.random.default_rng(self.config.seed).permutation(len(self.clips))[:MAX_SPEECH]
        kinds = []
        for clips, indices in ((noise, np.arange(len(noise))), (self.clips, speech)):
            pieces = Segments(clips, indices, SPEECH_SECONDS, max_per_clip=4)
            kinds.append(
                np.concatenate(
                    [ear.embed(clips, indices), ear.embed(pieces, np.arange(len(pieces)))]
                )
            )
        is_speech = np.repeat([False, True], [len(kind) for kind in kinds])
        weight, bias = calibration.fit_logistic(np.concatenate(kinds), is_speech, decay=1e-4)
        task, variables, rule = ear.embed.task, ear.embed.variables, ear.rule
        plda = rule.plda and {
            f"plda_{part}": getattr(rule.plda, part) for part in ("mean", "axes", "between")
        }
        return bundles.Verifier(
            name,
            task.model,
            task.frontend,
            {**variables, "params": variables["params"]["encoder"]},
            task.mean,
            task.std,
            speech_weight=weight,
            speech_bias=bias,
            **{part: results[part] for part in ("threshold", "slope", "offset")},
            speeds=tuple(task.config.speeds),
            cohort=rule.cohort,
            top=rule.top,
            fused=ear.fused and self._bundle(f"{name} fused", ear.fused, results["functionals"]),
            fusion_weight=rule.fusion_weight,
            **plda or {},
        )

    def make_task(self, train) -> tuple[Verification, np.ndarray]:
        """The task for the speakers of training clips, and the number of each clip's speaker, -1 outside of them."""
        names = np.unique(self.speakers[train])
        labels = np.searchsorted(names, self.speakers).clip(max=len(names) - 1)
        labels = np.where(names[labels] == self.speakers, labels, -1)
        config = self.config
        network = SmallSpeakerEncoder() if config.network == "small" else _residual(config.encoder)
        mean_std = self.clips.mean_std(train)
        return Verification(
            network, len(names), self.clips.frontend, *mean_std, config.task, config.augment
        ), labels

    def _judged(self, indices) -> tuple[FeatureSet, np.ndarray, str]:
        """Clips of one corpus to make trials of; pieces of them where each speaker has one clip only."""
        if len(np.unique(self.speakers[indices])) < len(indices):
            return self.clips, indices, "whole clips"
        pieces = Segments(self.clips, indices, self.config.segment_seconds)
        return (
            pieces,
            np.arange(len(pieces)),
            f"same recording, {self.config.segment_seconds:g} s pieces",
        )

    def _by_corpus(self, indices) -> list[np.ndarray]:
        return [
            indices[self.corpora[indices] == corpus] for corpus in np.unique(self.corpora[indices])
        ]

    def _trials(
        self, ear, own, known
    ) -> tuple[FeatureSet, np.ndarray, np.ndarray, trials.Trials, str]:
        """All pairs of clips of one corpus: what `_judged` says, with embeddings and pairs before the protocol."""
        clips, indices, protocol = self._judged(own)
        listed = trials.all_pairs(clips, indices, known)
        heard = ear(clips, indices)
        vectors = np.zeros((len(clips), heard.shape[1]), np.float32)
        vectors[indices] = heard
        return clips, indices, vectors, listed, protocol

    def _ear(self, task: Verification, variables, learnt) -> "_Ear":
        """A trained network whose scores the clips of its training speakers teach, with functionals beside it."""
        embed = _Embedder(task, variables, self.config.loader)
        vectors = embed(self.clips, learnt)
        strangers = self._means(vectors, learnt)
        if self.clips.store == "waveform":
            # Else any two voices by telephone are more alike than either and all strangers.
            _, firsts = np.unique(self.speakers[learnt], return_index=True)
            telephone = _Telephone(self.clips, learnt[firsts])
            strangers = np.concatenate([strangers, embed(telephone, np.arange(len(telephone)))])
        rule = self._backend(vectors, self.speakers[learnt], strangers)
        if not self.config.fusion_weight:
            return _Ear(embed, rule)
        fused = self._functional_ear(learnt)
        rule = dataclasses.replace(
            rule,
            fused=fused.rule,
            size=task.embedding_size,
            fusion_weight=self.config.fusion_weight,
        )
        return _Ear(embed, rule, fused)

    def _functional_ear(self, learnt) -> "_Ear":
        """Functionals, along the axes in which those of the training clips, as they are and varied, differ most."""
        config, frontend = self.config, dataclasses.replace(self.clips.frontend, **FUNCTIONALS)
        augment = config.augment.of_waveforms
        loader = dataclasses.replace(
            config.loader, clips_per_speaker=0, crop_seconds=VARIED_SECONDS
        )
        functionals = jax.jit(
            lambda batch, key: preprocess(frontend, 0.0, 1.0, batch, augment, key)[0][:, 0]
        )
        plain = loaders.make_loader(self.clips, learnt, None, loader, train=False)
        varied = loaders.make_loader(
            self.clips, learnt, None, loader, train=True, epochs=VARIED_EPOCHS
        )
        keyed = (
            (batch, jax.random.key(number)) for number, batch in enumerate(varied, config.seed)
        )
        rows, clips = [], []
        for batch, key in itertools.chain(((batch, None) for batch in plain), keyed):
            real = batch["weight"] > 0
            rows.append(
                functionals({name: batch[name] for name in ("waveform", "length")}, key)[real]
            )
            clips.append(batch["index"][real])
        x, clips = np.concatenate(rows).astype(np.float64), np.concatenate(clips)  # [B, D], [B]
        mean, std = mean_std(len(x), x.sum(axis=0), (x**2).sum(axis=0))
        x, limit = (x - mean) / std, FunctionalEncoder.limit
        kernel, bias = _principal(x.clip(-limit, limit), FunctionalEncoder.embedding)
        network, params = (
            FunctionalEncoder(len(bias)),
            {"Dense_0": {"kernel": kernel, "bias": bias}},
        )
        task = Verification(network, 0, frontend, mean, std)
        embed = _Embedder(task, {"params": {"encoder": params}}, config.loader)
        vectors, plain = network.apply({"params": params}, x[:, None], None), slice(len(learnt))
        strangers = self._means(vectors[plain], clips[plain])
        return _Ear(
            embed,
            self._backend(vectors, self.speakers[clips], strangers, shrinkage=FUNCTIONAL_SHRINKAGE),
        )

    def _means(self, vectors, clips) -> np.ndarray:
        """The mean direction of each speaker's clips [B], heard as vectors [B, E]: unit vectors [S, E]."""
        _, means = metrics.mean_by_speaker(vectors, self.speakers[clips])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def _backend(self, vectors, speakers, strangers, **plda) -> scoring.ScoringBackend:
        """How embeddings are compared, as clips [B, E] of training speakers [B] and strangers [S, E] teach."""
        return scoring.ScoringBackend(
            scoring.Plda.fit(vectors, speakers, **plda) if self.config.plda else None,
            strangers if self.config.cohort else None,
            self.config.cohort,
        )

    def _by_length(self, ear, indices, known) -> dict[str, dict]:
        """Figures of clips cut to their first seconds, or of all pieces where each speaker has one clip only."""
        figures = {}
        single = len(np.unique(self.speakers[indices])) == len(indices)
        for seconds in CLIP_SECONDS:
            try:
                pieces = Segments(self.clips, indices, seconds, max_per_clip=None if single else 1)
                listed = trials.all_pairs(pieces, np.arange(len(pieces)), known)
            except (CorpusError, FeatureError):  # too few clips are that long
                continue
            scores = ear.rule.scores(ear(pieces, np.arange(len(pieces))), listed.pairs)
            eer = metrics.equal_error_rate(scores, listed.same)[0]
            figures[str(seconds)] = {
                "clips": len(pieces),
                "speakers": len(np.unique(listed.speakers)),
                "eer": eer,
            }
        return figures

    def _validation_batches(self, indices) -> Iterator[dict]:
        """The same crops every time, each batch of the speakers of one corpus: a pair of two corpora would be easy."""
        numbers, _ = self.clips.labels("speaker")
        K = self.config.loader.clips_per_speaker or 2
        for corpus in np.unique(self.corpora[indices]):
            own = indices[self.corpora[indices] == corpus]
            speakers = len(np.unique(self.speakers[own]))
            if speakers < 2:
                continue
            size = min(self.config.loader.batch_size // K, speakers) * K
            settings = dataclasses.replace(
                self.config.loader, batch_size=size, clips_per_speaker=K, seed=0
            )
            batches = loaders.make_loader(self.clips, own, numbers, settings, train=True)
            try:
                yield from itertools.islice(batches, self.config.eval_batches)
            finally:
                batches.close()


def _residual(config: EncoderConfig) -> SpeakerEncoder:
    settings = dataclasses.asdict(config)
    return SpeakerEncoder(
        **settings | {"widths": tuple(config.widths), "blocks": tuple(config.blocks)}
    )


class _Embedder:
    """Embeddings [B, E] of clips of a feature set, in the order asked for."""

    def __init__(self, task: Verification, variables, config: LoaderConfig):
        self.task, self.variables, self._config = task, variables, config
        self._predict = jax.jit(task.predict)

    def __call__(self, clips: FeatureSet, indices: Sequence[int]) -> np.ndarray:
        vectors = np.zeros((len(clips), self.task.embedding_size), np.float32)
        for batch in loaders.make_loader(clips, indices, None, self._config, train=False):
            inputs = {
                name: batch[name]
                for name in ("waveform", "length", "features", "num_frames")
                if name in batch
            }
            vectors[batch["index"]] = self._predict(self.variables, inputs)["embedding"]
        return vectors[indices]


@dataclasses.dataclass(frozen=True, eq=False)
class _Ear:
    """What embeds clips, how the embeddings are compared, and perhaps another ear, whose embeddings are joined."""

    embed: _Embedder
    rule: scoring.ScoringBackend
    fused: "_Ear | None" = None

    def __call__(self, clips: FeatureSet, indices: Sequence[int]) -> np.ndarray:
        vectors = self.embed(clips, indices)
        return (
            scoring.joined(vectors, self.fused(clips, indices), self.rule.fusion_weight)
            if self.fused
            else vectors
        )


class _Telephone(Subset):
    """Clips as they sound by telephone, at 8 kHz."""

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        heard, rate = super().__getitem__(index)["waveform"], self.frontend.sample_rate
        narrow = files.resample(files.resample(heard, rate, TELEPHONE_HZ), TELEPHONE_HZ, rate)
        return {"waveform": np.resize(narrow, len(heard)).astype(np.float32)}


def _principal(x, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The principal components of rows [B, D] as a dense layer, kernel [D, E] and bias [E]; E is `number` at most.

    Each is divided by the square root of its deviation: halfway from as they vary to all alike.
    """
    mean = x.mean(axis=0)
    _, deviations, axes = np.linalg.svd(x - mean, full_matrices=False)
    kept = deviations[:number] > 1e-6 * deviations[0]
    kernel = axes[:number][kept].T / np.sqrt(deviations[:number][kept])
    return kernel.astype(np.float32), (-mean @ kernel).astype(np.float32)


def _calibrate(heard: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Threshold, and slope and offset of the probability, by trials of speakers that were not trained on.

    How alike strangers score differs more between corpora than within, and who uses a bundle
    records in yet another way: so the threshold is the lowest that keeps `FALSE_ACCEPTS` in every
    corpus, and the probability one half there.

    Args:
        heard: scores [N] and whether the speaker is the same [N] of the trials of each corpus,
            which weigh alike.
    """
    threshold = max(np.quantile(scores[~same], 1 - FALSE_ACCEPTS) for scores, same in heard)
    weight = [np.where(same, 1 / same.sum(), 1 / (~same).sum()) for _, same in heard]
    scores, same = (np.concatenate(part) for part in zip(*heard, strict=True))
    slope, _ = calibration.fit_logistic(scores, same, np.concatenate(weight))
    return {"threshold": float(threshold), "slope": slope, "offset": -slope * float(threshold)}


def _errors(scores, listed: trials.Trials, chosen: dict[str, float]) -> dict[str, float]:
    """Error rates at the threshold."""
    accepted = scores >= chosen["threshold"]
    return {
        "false_accept": float(np.mean(accepted[~listed.same])),
        "false_reject": float(np.mean(~accepted[listed.same])),
    }


def _figures(scores, listed: trials.Trials, chosen=None) -> dict[str, float]:
    """Equal error rate with its interval over speakers, and detection costs; nothing where a kind is missing."""
    chosen = np.ones(len(scores), bool) if chosen is None else chosen
    scores, same, speakers = scores[chosen], listed.same[chosen], listed.speakers[chosen]
    if same.all() or not same.any():
        return {}
    low, high = metrics.bootstrap_trials(
        scores, same, speakers, lambda *drawn: metrics.equal_error_rate(*drawn)[0]
    )
    costs = {f"min_dcf_{prior}": metrics.min_dcf(scores, same, prior) for prior in PRIORS}
    figures = {"eer": metrics.equal_error_rate(scores, same)[0], "eer_low": low, "eer_high": high}
    return {"trials": len(scores), "same": int(same.sum()), **figures, **costs}
