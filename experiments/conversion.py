r"""Voice conversion, and text-to-speech with LSTM layers and attention: encoder, attention, decoder of mel frames.

    python -m data_pipelines synthetic --audio-dir corpora/espeak --out features/espeak \
        --speakers 24 --clips 400 --styles calm --voices-per-sentence 4 --texts sentences.txt \
        --for conversion
    python -m data_pipelines kaldi --audio-dir speechocean762/train --out features/speechocean762 \
        --speeds 0.87 1.15 --for conversion
    python -m experiments.conversion --features features/espeak,features/speechocean762 \
        --workdir runs/conversion

What espeak-ng says is learnt with ease, and lends its attention to people, of whom there is little;
random voices of espeak-ng (--random-voices), and people at other speeds, are many voices. Recordings
without a text are learnt from by saying them again. Time: 6 seconds a step of 32 sentences on two
CPU cores at 4 frames a step. What ships was trained in five such stages (its bundle.json has them) on
corpora of which three were drawn by chance; it is evaluated by --mode=evaluate --bundle=conversion.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np

from data_pipelines import loaders
from data_pipelines.loaders import LoaderConfig
from experiments import _experiment, _fine_tuning, _run, _speech
from experiments._run import Stage
from lin_jax import bundles
from lin_jax.bundles.synthesizer import mean_weights
from lin_jax.errors import ConfigError
from lin_jax.models import registry
from lin_jax.tasks.synthesis import Synthesis, SynthesisConfig
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig


@dataclasses.dataclass
class TacotronConfig:
    """The network and its sizes."""

    name: str = "Tacotron"
    symbol_features: int = 128
    encoder_hidden: int = 192
    voice_features: int = 64
    decoder_hidden: int = 256
    prenet: tuple[int, ...] = (256, 128)
    postnet: tuple[int, ...] = (192, 192, 192)
    attention: str = "dynamic_convolution"
    dropout: float = 0.2
    unroll: int = 1
    dtype: str = "float32"


@dataclasses.dataclass
class Config(_speech.Config):
    """The settings.

    Attributes:
        init: name or folder of a bundle to go on from, as a last stage; of several, with commas
            between them, which went on from the same one, the mean of their weights.
        fresh_postnet: whether it goes on with the post-net of `network`, drawn anew, which changes
            nothing at first.
        anchor_voices: corpora, with commas between them, in whose voices speech is understood;
            other voices are moved towards the nearest ones of these.
        min_anchor_similarity: how far, as a cosine; see `tasks.synthesis.move_to_anchors`.
        speech: share of the training batches whose source is a recording in place of a text, as it
            always is of clips that have none; 0 learns texts only.
        reductions: frames that the decoder makes in one step, by stage: many first, since a short
            way is learnt faster.
        steps: how long each stage is.
    """

    fresh_postnet: bool = False
    vocoder: str = ""
    max_clip_seconds: float = 12.0
    hold_out: int = 10
    hold_out_texts: float = 0.2
    anchor_voices: str = ""
    min_anchor_similarity: float = 0.8
    speech: float = 0.3
    reductions: tuple[int, ...] = (4,)
    steps: tuple[int, ...] = (10000,)
    network: TacotronConfig = dataclasses.field(default_factory=TacotronConfig)
    task: SynthesisConfig = dataclasses.field(default_factory=SynthesisConfig)


CONFIG = Config(
    optim=OptimConfig(
        learning_rate=1e-3, warmup_steps=300, weight_decay=1e-4, clip_norm=1.0, ema_decay=0.999
    ),
    train=TrainConfig(log_every=50, eval_every=800, checkpoint_every=250),
    loader=LoaderConfig(batch_size=32, buckets=5),
)
FROM = {"init": "conversion", "optim.learning_rate": 2e-4, "optim.warmup_steps": 20}
# For experiments.compare, of a single speaker, whose corpus --config.anchor_voices names.
ONE_SPEAKER = FROM | {"fresh_postnet": True, "speech": 0.0, "min_anchor_similarity": 1.0}
ONE_SPEAKER |= {"vocoder": "vocoder", "hold_out_texts": 0.08, "max_clip_seconds": 6.0}
ONE_SPEAKER |= {"steps": (1200,), "optim.learning_rate": 5e-4, "loader.buckets": 2}
PRESETS = {
    # The stages of what ships, without its change of corpora.
    "shipped": [
        Stage(folder="first"),
        Stage({"init": "{workdir}/first/ship/conversion", "steps": (7000,)}, folder="second"),
        Stage(
            {"init": "{workdir}/first/ship/conversion,{workdir}/second/ship/conversion"}
            | {"steps": (6500,), "vocoder": "vocoder", "anchor_voices": "espeak"},
            folder="third",
        ),
    ],
    "baseline": [Stage(ONE_SPEAKER | {"network.postnet": ()})],
    "improved": [Stage(ONE_SPEAKER)],
    "one_voice": [  # ten clips or more
        Stage(FROM | {"steps": (300,), "loader.batch_size": 8, "loader.buckets": 1})
    ],
}


class Experiment(_speech.Experiment):
    """Corpora with texts or without, and the speech that is learnt from them by attention."""

    NAME = "conversion"

    def __init__(self, config: Config, folder, bundle: str = ""):
        self.UNREAD = bool(config.speech)
        if len(config.reductions) != len(config.steps) or not config.steps:
            raise ConfigError(f"{config.reductions=}, {config.steps=}: give as many of each")
        if not 0 <= config.min_anchor_similarity <= 1:
            raise ConfigError("min_anchor_similarity: a cosine; choose 0 to 1")
        super().__init__(config, folder, bundle)
        self.stages = list(zip(config.reductions, config.steps, strict=True))
        if self.start:
            self.stages = [(self.start.model.reduction, config.steps[-1])]
        named = set(filter(None, config.anchor_voices.split(",")))
        if unknown := named - set(self.corpora):
            raise ConfigError(f"anchor_voices: no corpus is named {unknown.pop()}")
        natural = self.split.train[self.clips.speeds[self.split.train] == 1]
        self.anchors = np.unique(self.speakers[natural[np.isin(self.corpora[natural], [*named])]])

    def fit(self, workdir):
        """Train all stages; go on, or return, where that was done before."""
        config, voices = self.config, self.voices(workdir)
        watch = (lambda: self._watch(voices)) if len(self.split.validation) else None
        params = self.start and self.start.variables["params"]
        for reduction, steps in self.stages:
            task = self.make_task(voices.shape[1], reduction, fresh=params is None)
            train = self._loader(self.split.train, voices, config.loader, True, config.speech)
            settings = dataclasses.replace(config.train, num_steps=steps)
            given = dataclasses.replace(config, train=settings), task, train, watch
            folder = workdir / f"reduction_{reduction}"
            result = _experiment.fit(*given, folder, params=params)
            params = result.variables["params"]
        return task, result

    def make_task(self, voice_size: int, reduction: int, *, fresh: bool) -> Synthesis:
        """The task of a stage; one that is not fresh has its schedules behind it."""
        config, task, start = self.config, self.config.task, self.start
        sources = ("text", "speech") if config.speech else ("text",)
        if start:
            network, scale, sources = start.model, (start.mean, start.std), start.sources
        else:
            scale = self.clips.mean_std(self.split.train)
            network = registry.build(
                config.network,
                num_mels=self.clips.frontend.num_features,
                num_symbols=len(self.table),
                reduction=reduction,
                max_reduction=max(config.reductions),
            )
        if not fresh:
            names = ("guided_weight", "prenet_dropout")
            task = dataclasses.replace(task, **{n: getattr(task, n)[1:] * 2 for n in names})
        return Synthesis(network, self.clips.frontend, *scale, voice_size, sources, task)

    def make_bundle(self, task: Synthesis, result) -> bundles.Synthesizer:
        """The synthesizer with the voices of its training speakers."""
        config, train = self.config, self.split.train
        names = np.unique(self.speakers[train[self.clips.speeds[train] == 1]]).tolist()
        bundle = bundles.Synthesizer(
            self.NAME,
            task.model,
            self.clips.frontend,
            {"params": result.variables["params"]},
            task.mean,
            task.std,
            **self.synthesizer_settings(names),
            max_seconds=config.task.max_seconds,
            source_mfcc=config.task.source_mfcc,
            sources=task.sources,
            trained_seconds=max(self.clips.rows[index]["seconds"] for index in train),
            anchor_voices=tuple(self.anchors.tolist()),
            min_anchor_similarity=config.min_anchor_similarity,
        )
        profiles = [bundle.clone_voice(self.known_paths(name)) for name in names]
        parts = {"voices": "embedding", "ltas": "ltas", "ltas_corrections": "ltas_correction"}
        for part, field in parts.items():
            setattr(bundle, part, np.stack([getattr(profile, field) for profile in profiles]))
        return bundle

    def load_start(self, name: str) -> bundles.Synthesizer:
        """The bundle to go on from; of several the mean of the weights (Wortsman et al., 2022)."""
        start = mean_weights([bundles.load(each) for each in name.split(",")])
        if self.config.speech and "speech" not in start.sources:
            raise ConfigError(f"{name}: says texts only: set speech to 0")
        if not self.config.speech:
            start = dataclasses.replace(start, sources=("text",))
        if self.config.fresh_postnet:
            start = _fine_tuning.with_postnet(start, self.config.network.postnet)
        return start

    def facts(self, results: dict) -> dict:
        """See `_experiment.Experiment`."""
        return {
            "summary": "Voice conversion and text-to-speech with voice cloning: says what is said in "
            "a recording, or a text, in the voice of a short reference clip or of its training."
        } | super().facts(results)

    def _watch(self, voices: np.ndarray) -> Iterator[dict]:
        """The same clips every time, from their texts and, where that is learnt, from recordings."""
        config, rng = self.config, np.random.default_rng(self.config.seed)
        size = config.eval_batches * config.loader.batch_size
        chosen = np.sort(rng.permutation(self.split.validation)[:size])
        settings = dataclasses.replace(config.loader, buckets=1)
        for speech in (0, 1) if config.speech else (0,):
            batches = self._loader(chosen, voices, settings, False, speech)
            with contextlib.closing(batches):
                yield from batches

    def _loader(self, indices, voices, settings: LoaderConfig, train: bool, speech: float):
        """Batches of some clips, each with who says the same in a recording.

        The voice is taken from other clips of the speaker, so that it is what they have in common.
        """
        same: dict[str, list[int]] = {}
        for index in indices:
            same.setdefault(self.words[index], []).append(index)
        by_speaker = {name: indices[self.speakers[indices] == name] for name in set(self.speakers)}
        others = (np.setdiff1d(by_speaker[name], i) for i, name in enumerate(self.speakers))
        count = None if train else 1  # always the same one
        references = [clips[:count] if len(clips) else [i] for i, clips in enumerate(others)]
        options = {
            "speech": speech,
            "partners": [np.array(same.get(words, ())) for words in self.words],
            "references": list(map(np.array, references)),
        }
        given = self.clips, indices, self.symbols, voices, settings
        return loaders.make_synthesis_loader(*given, train=train, **options)


if __name__ == "__main__":
    _run.main(Experiment, CONFIG, PRESETS)
