r"""Vocoding: the waveform of mel frames, of which a network predicts the magnitudes, and Griffin-Lim the phases.

    for corpus in table kaldi librispeech ravdess; do
        python -m data_pipelines $corpus --audio-dir ... --out features/$corpus --for vocoder
    done
    python -m experiments.vocoder --features features/kaldi,features/librispeech,features/ravdess \
        --workdir runs/vocoder --preset shipped

Time: 40 minutes on two CPU cores. Result on 80 segments of 28 held-out speakers: PESQ 3.10, STOI
0.96 (Griffin-Lim alone 2.91 and 0.95; with the true magnitudes 3.77 and 0.99). All speakers come
equally often, however much they say. The front end must be that of the synthesizer whose frames
become sound.
"""

import dataclasses
import pathlib

import numpy as np

from data_pipelines.loaders import LoaderConfig
from experiments import _experiment, _run
from experiments._run import Stage
from lin_jax import bundles
from lin_jax.errors import ConfigError
from lin_jax.evaluation import vocoder as evaluation
from lin_jax.models import registry
from lin_jax.models.vocoder import SpectrumDiscriminator
from lin_jax.models.waveform_discriminator import WaveformDiscriminator
from lin_jax.tasks.vocoding import Vocoding, VocodingConfig
from lin_jax.tasks.waveform_vocoding import WaveformVocoding, WaveformVocodingConfig
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig


@dataclasses.dataclass
class NetworkConfig:
    """The network and its sizes, of which each network has some.

    Attributes:
        name: SpectrumDecoder, which predicts magnitudes, or Vocos, which predicts phases too.
    """

    name: str = "SpectrumDecoder"
    width: int = 320
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)
    n_fft: int = 512
    rate: int = 2
    hidden: int = 640
    blocks: int = 8


@dataclasses.dataclass
class EvalConfig:
    """What the vocoder is evaluated on.

    Attributes:
        clips: of each corpus; the speakers held out take turns.
        seconds: of each.
        examples: of each corpus, to listen to.
    """

    clips: int = 20
    seconds: float = 4.0
    examples: int = 1


@dataclasses.dataclass
class Config(_experiment.Config):
    """The settings.

    Attributes:
        task: of SpectrumDecoder.
        waveform_task: of Vocos.
    """

    hold_out: int = 10
    validation: int = 4
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    task: VocodingConfig = dataclasses.field(default_factory=VocodingConfig)
    waveform_task: WaveformVocodingConfig = dataclasses.field(
        default_factory=WaveformVocodingConfig
    )
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)


CONFIG = Config(
    optim=OptimConfig(
        learning_rate=1e-3, warmup_steps=200, weight_decay=0.01, clip_norm=1.0, ema_decay=0.998
    ),
    train=TrainConfig(num_steps=3000, log_every=50, eval_every=250, checkpoint_every=250),
    loader=LoaderConfig(batch_size=16, clips_per_speaker=2, crop_seconds=1.5),
)
PRESETS = {
    "shipped": [Stage()],
    # What a discriminator cannot tell from recordings is trained besides, at twice the time.
    "adversarial": [Stage({"task.adversarial_weight": 0.05})],
    "vocos": [Stage({"network.name": "Vocos"})],
}


class Experiment(_experiment.Experiment):
    """Corpora of clean speech, and the vocoder that is trained on them."""

    NAME = "vocoder"
    STORE = "waveform"

    def __init__(self, config: Config, folder: str | pathlib.Path, bundle: str = ""):
        super().__init__(config, folder, bundle)
        if config.network.name not in ("SpectrumDecoder", "Vocos"):
            raise ConfigError(f"network {config.network.name}: choose SpectrumDecoder or Vocos")

    def make_task(self) -> Vocoding | WaveformVocoding:
        """The task, with the mean and deviation of the training clips."""
        config, frontend = self.config, self.clips.frontend
        given = frontend, *self.clips.mean_std(self.split.train)
        if config.network.name == "Vocos":
            network, task = registry.build(config.network), config.waveform_task
            discriminator = WaveformDiscriminator() if task.adversarial_weight else None
            return WaveformVocoding(network, *given, discriminator, task)
        network = registry.build(config.network, num_bins=frontend.n_fft // 2 + 1)
        discriminator = SpectrumDiscriminator() if config.task.adversarial_weight else None
        return Vocoding(network, *given, discriminator, config.task)

    def make_bundle(self, task, result) -> bundles.Vocoder:
        """The vocoder without its discriminator."""
        phases = isinstance(task, WaveformVocoding)
        return bundles.Vocoder(
            self.NAME,
            task.model,
            self.clips.frontend,
            {"params": result.variables["params"]["vocoder"]},
            task.mean,
            task.std,
            iterations=None if phases else task.config.iterations,
        )

    def test_set(self) -> tuple[np.ndarray, np.ndarray]:
        """Segments of whole frames, and a clip of each speaker."""
        config, frontend = self.config.eval, self.clips.frontend
        frames = round(config.seconds * frontend.sample_rate) // frontend.hop_length
        return self.test_segments(frames * frontend.hop_length, config.clips)

    def measure(self, bundle: bundles.Vocoder, test_set, out: pathlib.Path) -> dict:
        """See `evaluation.evaluate`; also writes report.html."""
        config, rate, (clean, chosen) = self.config.eval, self.clips.frontend.sample_rate, test_set
        corpora = self.corpora[chosen]
        results, waveforms = evaluation.evaluate(bundle, clean, self.speakers[chosen], corpora)
        print(evaluation.summary(results))
        examples = [
            (str(corpus), int(number))
            for corpus in np.unique(corpora)
            for number in np.flatnonzero(corpora == corpus)[: config.examples]
        ]
        described = {"protocol": self.split.protocol} | results
        evaluation.report(described, clean, waveforms, examples, rate, out)
        return results

    def facts(self, results: dict) -> dict:
        """See `Experiment`."""
        return {
            "summary": "Makes the waveform of mel frames, such as those of a synthesizer.",
            "protocol": "Speakers that were not trained on, resynthesised from their own frames; "
            "what is given the true magnitudes, which mel frames lose, is the limit.",
            "metrics": evaluation.card_metrics(results),
        }


if __name__ == "__main__":
    _run.main(Experiment, CONFIG, PRESETS)
