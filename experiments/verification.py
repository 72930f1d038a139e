r"""Speaker verification: a residual encoder whose embeddings are near for one speaker and far for two.

    for corpus in kaldi librispeech ravdess noise; do  # kaldi: speechocean762
        python -m data_pipelines $corpus --audio-dir ... --out features/$corpus --for speaker
    done
    python -m experiments.verification --features features/kaldi,features/librispeech,features/ravdess \
        --config.noise=features/noise --workdir runs/verification --preset shipped

--config.extra adds readers with many clips each, as for what ships. Time on two CPU cores: two and a
half hours. Result, equal error rates of held-out speakers: LibriSpeech 3.8 %, speechocean762 6.1 %,
RAVDESS 9.0 %. Scores are those of PLDA, normalised by a cohort of training speakers (AS-norm), and
fused with functionals of whole clips. What ships is evaluated by --mode=evaluate --bundle=speaker and
fine-tuned by --config.init=speaker.
"""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from data_pipelines import features, loaders, splits, trials
from data_pipelines.feature_set import FeatureSet
from data_pipelines.loaders import LoaderConfig
from experiments import _backend, _children, _experiment, _fine_tuning, _groups, _run
from experiments._networks import EncoderConfig
from experiments._run import Stage
from lin_jax import bundles, metrics
from lin_jax.audio.augment import AugmentConfig
from lin_jax.errors import ConfigError
from lin_jax.evaluation import verification as evaluation
from lin_jax.evaluation.conditions import ConditionsConfig
from lin_jax.models import registry
from lin_jax.tasks.verification import Verification, VerificationConfig
from lin_jax.training import writers
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig


@dataclasses.dataclass
class Config(_experiment.Config):
    """The settings.

    Attributes:
        segment_seconds: length of the pieces that a corpus of one clip a speaker is evaluated on.
        plda: whether scores are likelihood ratios (`scoring.Plda`); else cosines.
        cohort: nearest training speakers that scores are normalised by (AS-norm); 0 does not.
        fusion_weight: of the functionals of whole clips in a score; 0 leaves them out.
        noise: feature set of sounds without speech, from which the bundle learns what is no voice.
        everyone: whether the bundle that ships is of a further training, on all speakers.
        eval: conditions under which both clips of a trial are tried besides, such as in noise.
    """

    eval_batches: int = 4
    segment_seconds: float = 3.0
    plda: bool = True
    cohort: int = 20
    fusion_weight: float = 0.2
    noise: str = ""
    everyone: bool = False
    network: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    task: VerificationConfig = dataclasses.field(default_factory=VerificationConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    eval: ConditionsConfig = dataclasses.field(default_factory=ConditionsConfig)


CONFIG = Config(
    task=VerificationConfig(triplet_weight=1.0, speeds=(0.9, 1.0, 1.1)),
    augment=AugmentConfig(
        noise_prob=0.5,
        noise_snr_db=(5.0, 25.0),
        babble_prob=0.2,
        room_prob=0.4,
        band_prob=0.2,
        freq_masks=1,
        freq_mask_width=8,
        time_masks=1,
        time_mask_width=10,
    ),
    optim=OptimConfig(
        learning_rate=2e-3, warmup_steps=300, weight_decay=0.05, clip_norm=5.0, ema_decay=0.999
    ),
    train=TrainConfig(num_steps=5000, log_every=50, eval_every=500, checkpoint_every=250),
    loader=LoaderConfig(batch_size=64, clips_per_speaker=2, crop_seconds=2.0),
)
SPEAKER_ENCODER = {"fusion_weight": 0.0}
# Most speakers have a single recording, whose microphone is not their voice.
MICROPHONES = {"init": "{workdir}/first/ship/speaker", "everyone": True, "train.num_steps": 2000}
MICROPHONES |= {"augment.equaliser": 0.6, "augment.band_prob": 0.4, "loader.crop_seconds": 2.5}
MICROPHONES |= {"optim.learning_rate": 1.5e-3, "optim.warmup_steps": 100}
PRESETS = {
    "shipped": [Stage(SPEAKER_ENCODER, folder="first"), Stage(MICROPHONES, folder="second")],
    "speaker_encoder": [Stage(SPEAKER_ENCODER)],  # by which voices are cloned
    "original": [  # of the hardest triplets, or faster, all embeddings become one
        Stage(
            {"network.name": "SmallSpeakerEncoder", "fusion_weight": 0.0, "task.loss": "triplet"}
            | {"task.mining": "semi-hard", "task.triplet_weight": 0.0, "task.speeds": (1.0,)}
            | {"loader.crop_seconds": 3.0, "optim.learning_rate": 5e-4, "optim.warmup_steps": 50}
            | {"train.num_steps": 450}
        )
    ],
}


class Experiment(_experiment.Experiment):
    """Corpora, and an encoder of their speakers."""

    NAME = "speaker"
    STORE = "waveform"

    def fit(self, workdir: pathlib.Path, everyone: bool = False):
        """Train on the training speakers, or on everyone; go on where that was done before."""
        config, clips = self.config, self._train(everyone)
        task, labels = self.make_task(clips), self._labels(clips)
        train = loaders.make_loader(self.clips, clips, labels, config.loader, train=True)
        watched = [] if everyone else self.split.validation
        watch = functools.partial(_backend.corpus_batches, self.clips, watched, config)
        watch = watch if len(watched) else None
        params = self.start_params(task) if self.start else None
        return task, _experiment.fit(config, task, train, watch, workdir, params=params)

    def make_task(self, train=None) -> Verification:
        """The task for the speakers of training clips."""
        train = self.split.train if train is None else train
        network, config = registry.build(self.config.network), self.config
        given = self.clips.frontend, *self.clips.mean_std(train), config.task, config.augment
        return Verification(network, len(np.unique(self.speakers[train])), *given)

    def start_params(self, task: Verification) -> dict:
        """The encoder of the bundle to fine-tune, under a new head."""
        params = task.init(jax.random.key(self.config.train.seed))["params"]
        return params | {"encoder": _fine_tuning.start_from(self.start, params["encoder"])}

    def make_bundle(self, task: Verification, result, everyone: bool = False) -> bundles.Verifier:
        """The encoder with its scoring back end; calibrated, unless validation speakers trained it."""
        config, train = self.config, self._train(everyone)
        encoder = {**result.variables, "params": result.variables["params"]["encoder"]}
        given = task.model, task.frontend, encoder, task.mean, task.std, task.embedding_size
        bundle = _backend.verifier(self.NAME, *given, speeds=tuple(config.task.speeds))
        embeddings, _ = evaluation.embed(bundle, _backend.waveforms(self.clips, train))
        known = ~np.isnan(embeddings[:, 0])  # the others hold too little sound
        embeddings, train = embeddings[known], train[known]
        cohort = _backend.directions(embeddings, self.speakers[train])
        settings = {"plda": config.plda, "top": config.cohort}
        bundle = _backend.with_scores(bundle, embeddings, self.speakers[train], cohort, **settings)
        if config.fusion_weight:
            given = self.clips, train, config.augment, config.loader, config.seed
            fused = _backend.fit_functionals(*given, **settings)
            bundle = dataclasses.replace(bundle, fused=fused, fusion_weight=config.fusion_weight)
        bundle = _backend.with_narrow_cohort(bundle, self.clips, train)
        if config.noise:
            noise = features.open_features(config.noise, self.clips.frontend)
            bundle = _backend.fit_speech_gate(bundle, noise, self.clips, config.seed)
        bundle = _children.with_children(bundle, self.clips, train)
        if everyone:
            return bundle
        heldout = []
        for clips in self._by_corpus(self.split.validation):
            chosen, pairs, _ = self.trials(clips)
            heldout.append((evaluation.embed(bundle, _backend.waveforms(chosen))[0], pairs))
        return _backend.calibrate(bundle, heldout)

    def ship(self, workdir: pathlib.Path) -> pathlib.Path:
        """The bundle, of a further training on everyone if the config says so."""
        _run.read_results(workdir)
        if not self.config.noise:  # from which the bundle learns what is no voice
            raise ConfigError("no noises: name a feature set of them with --config.noise")
        return super().ship(workdir)

    def final_bundle(self, workdir: pathlib.Path) -> bundles.Verifier:
        """That of everyone, if the config says so, calibrated as the one that was evaluated."""
        if not self.config.everyone:
            return super().final_bundle(workdir)
        bundle = self.make_bundle(*self.fit(workdir / "everyone", everyone=True), everyone=True)
        return _backend.take_calibration(bundle, _run.read_results(workdir)["calibration"])

    def trained_on(self) -> np.ndarray:
        """See `_experiment.Experiment`."""
        return self._train(self.config.everyone)

    @property
    def known(self) -> Sequence[str]:
        """Speakers that must be in no trial."""
        return () if self.given else np.unique(self.speakers[self.split.train])

    def trials(self, indices) -> tuple[FeatureSet, metrics.Trials, str]:
        """All pairs of clips of one corpus; see `_backend.make_trials`."""
        return _backend.make_trials(self.clips, indices, self.config.segment_seconds, self.known)

    def test_set(self) -> list[np.ndarray]:
        """Clips of each corpus."""
        if not len(self.split.test) or not len(self.split.validation):
            raise ConfigError("no test speakers: raise hold_out and validation, or add a corpus")
        return self._by_corpus(self.split.test)

    def measure(self, bundle: bundles.Verifier, test_set, out: pathlib.Path) -> dict:
        """Error rates by corpus; writes lists of trials and plots."""
        summary = {"calibration": _backend.calibration_of(bundle), "corpora": {}}
        with contextlib.closing(writers.create(out, self.config.train.num_steps)) as writer:
            for clips in test_set:
                corpus = str(self.corpora[clips[0]])
                chosen, pairs, protocol = self.trials(clips)
                trials.write(out / f"{corpus}_trials.tsv", pairs, chosen)
                waveforms = _backend.waveforms(chosen)
                embeddings, narrow = evaluation.embed(bundle, waveforms)
                known = embeddings, pairs, _groups.by_age(chosen), narrow
                results, scores = evaluation.evaluate(bundle, *known)
                given = waveforms, pairs, self.config.eval
                results["conditions"] = evaluation.by_condition(bundle, *given)
                results |= {"protocol": protocol, "clips": len(chosen)}
                results["taken_for_children"] = _children.warned(bundle, embeddings, chosen)
                results["seconds"] = _backend.by_length(bundle, self.clips, clips, self.known)
                summary["corpora"][corpus] = results
                print(evaluation.summary(corpus, results))
                names = splits.plain_names(chosen.speakers)
                drawn = (scores, pairs, embeddings, names, bundle.threshold)
                writer.write_images(0, evaluation.report(corpus, *drawn, out))
        return summary

    def facts(self, results: dict) -> dict:
        """See `_experiment.Experiment`."""
        number = len(np.unique(self.speakers[self.trained_on()]))
        return {
            "summary": "Verifies whether two recordings are of the same speaker, and embeds voices.",
            "protocol": "Speaker-disjoint; the threshold was chosen on further speakers, as the "
            f"lowest at which {_backend.MAX_FALSE_ACCEPTS:.0%} of the impostors, or fewer, are accepted in "
            f"each corpus. Evaluated was a network trained on {results['train_speakers']} speakers; "
            f"the one that ships was trained on {number}, other speeds included.",
            "metrics": evaluation.card_metrics(results),
        }

    def _labels(self, train) -> np.ndarray:
        """The number of each clip's speaker among those of training clips, -1 outside of them."""
        names = np.unique(self.speakers[train])
        labels = np.searchsorted(names, self.speakers).clip(max=len(names) - 1)
        return np.where(names[labels] == self.speakers, labels, -1)

    def _train(self, everyone: bool) -> np.ndarray:
        return np.arange(len(self.clips)) if everyone else self.split.train

    def _by_corpus(self, indices) -> list[np.ndarray]:
        names = self.corpora[indices]
        return [indices[names == name] for name in np.unique(names)]


if __name__ == "__main__":
    _run.main(Experiment, CONFIG, PRESETS)
