r"""Voices from noisy recordings: repair, speaker encoder and synthesizer trained end to end, as one function.

    python -m data_pipelines librispeech --audio-dir READERS --out features/readers --for repair
    python -m data_pipelines table --audio-dir NOISES --out features/noises --for repair
    python -m experiments.joint --features features/readers --config.noise=features/noises \
        --workdir runs/joint --preset consistency
    lin speak "Good morning." --model runs/joint/ship/joint --voice NOISY.wav --repair-voice --out a.wav

The parts start as those of the bundle `--config.init` (`synthesis`, its `speaker_encoder`, and
`repair`), each of which `--config.task.freeze` keeps as it is. What is learnt: the profile of a
recording in noise, once it is repaired, is that of the clean one (by the encoder as it was, so that
known voices keep their meaning), and with `--config.texts` that speech in this voice is that of the
speaker; gradients of both reach the repair through the encoder. --mode=evaluate compares profiles
of the recordings as they are, of the parts in series, and of the parts trained together. --mode=ship
writes a synthesizer that holds the parts, and may be moved.
"""

import dataclasses
import pathlib

import numpy as np

from data_pipelines import loaders, pieces, splits
from data_pipelines.loaders import LoaderConfig
from experiments import _experiment, _run, synthesis
from experiments._noises import Noises, pool_and_odds
from experiments._parts import Parts
from experiments._run import Stage
from lin_jax import bundles
from lin_jax.audio.degrade import DegradeConfig
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.errors import ConfigError
from lin_jax.evaluation import noisy_references as evaluation
from lin_jax.tasks.joint import JointCloning, JointConfig
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig


@dataclasses.dataclass
class EvalConfig:
    """What voices are taken from in the evaluation.

    Attributes:
        clips: recordings; the speakers take turns.
        seconds: of each.
        side: of the split, "test", or "validation" to choose by.
    """

    clips: int = 40
    seconds: float = 5.0
    side: str = "test"


@dataclasses.dataclass
class Config(_experiment.Config):
    """The settings.

    Attributes:
        init: name or folder of a synthesis bundle by durations; it names the other parts.
        texts: feature set made --for synthesis of the same people, which the acoustic loss is
            computed on; "" leaves that out.
        noise: feature sets of recorded noises, with commas between; without one, it is generated.
        hold_out_noises: recorded noises of each set to evaluate in; at most a fifth of them.
        test_speakers: who is evaluated on, with commas between; "" draws `hold_out` of them.
        validation_speakers: who a training is watched on, if `test_speakers` are named.
    """

    init: str = "synthesis"
    texts: str = ""
    noise: str = ""
    hold_out_noises: int = 12
    test_speakers: str = ""
    validation_speakers: str = ""
    task: JointConfig = dataclasses.field(default_factory=JointConfig)
    degrade: DegradeConfig = dataclasses.field(default_factory=DegradeConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)


CONFIG = Config(
    degrade=DegradeConfig(
        noise_prob=1.0,
        snr_db=(-3.0, 15.0),
        kinds=(0.8, 0.1, 0.0, 0.02, 0.03, 0.05),
        second_prob=0.1,
        clean_prob=0.1,
    ),
    optim=OptimConfig(learning_rate=3e-4, warmup_steps=20, clip_norm=1.0, ema_decay=0.98),
    train=TrainConfig(num_steps=500, log_every=10, eval_every=100, checkpoint_every=50),
    loader=LoaderConfig(batch_size=8, crop_seconds=3.0),
    eval_batches=4,
)
PRESETS = {
    "consistency": [Stage()],
    "repair_only": [Stage({"task.freeze": "encoder,acoustic"})],
    "all": [  # with --config.texts
        Stage({"task.freeze": "", "task.acoustic_weight": 0.3, "optim.learning_rate": 1e-4})
    ],
}


class Experiment(_experiment.Experiment):
    """Corpora of clean speech, recorded noises, and the parts of a synthesizer."""

    NAME = "joint"
    STORE = "waveform"

    def __init__(self, config: Config, folder: str | pathlib.Path, bundle: str = ""):
        super().__init__(config, folder)
        self.given = self.load_start(bundle) if bundle else None
        if bool(config.texts) != bool(config.task.acoustic_weight):
            raise ConfigError("texts and task.acoustic_weight belong together: give both, or none")
        self.noises = Noises.of(config, self.clips.frontend)

    def load_start(self, name: str) -> Parts:
        """The parts to go on from."""
        return Parts.of(bundles.load(name))

    def start_params(self, task) -> None:
        """The task has them."""

    def hold_out(self) -> splits.Split:
        """See `_experiment.Experiment`; by name where test speakers are named."""
        config, people = self.config, self.clips.people
        if not config.test_speakers:
            return super().hold_out()
        names, sides = splits.plain_names(people), []
        for chosen in (config.validation_speakers, config.test_speakers):
            wanted = list(filter(None, chosen.split(",")))
            if missing := set(wanted) - set(names):
                raise ConfigError(f"{missing.pop()}: no such speaker: check the names")
            sides.append(np.isin(names, wanted))
        split = splits.Split(
            "speaker-disjoint", *map(np.flatnonzero, (~(sides[0] | sides[1]), *sides))
        )
        splits.check(split, people)
        return split

    def make_task(self) -> JointCloning:
        """The parts as one task."""
        pool, degrade = pool_and_odds(self.noises, self.config.degrade)
        return self.start.task(self.config.task, pool=pool, degrade=degrade)

    def fit(self, workdir: pathlib.Path):
        """Train on references alone, or with texts on what is said in their voices, too."""
        config = self.config
        if not config.texts:
            return super().fit(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        settings = dataclasses.replace(synthesis.CONFIG, init=config.init)
        spoken = synthesis.Experiment(settings, config.texts)
        cut, names = spoken.cut(workdir), splits.plain_names(spoken.clips.people)

        def batches(side, train):
            by_speaker: dict[str, list[int]] = {}
            for index, name in zip(side, splits.plain_names(self.clips.people[side]), strict=True):
                by_speaker.setdefault(name, []).append(int(index))
            references = [np.array(by_speaker.get(name, ())) for name in names]
            chosen = [piece for i in cut if len(references[i]) for piece in cut[i]]
            if not chosen:
                raise ConfigError(f"{config.texts}: nobody in it is in --features")
            size = min(config.loader.batch_size, len(chosen))
            loader = dataclasses.replace(config.loader, batch_size=size)
            given = spoken.clips, chosen, self.clips, references, loader
            return pieces.make_loader(*given, train=train)

        task, watched = self.make_task(), self.split.validation
        watch = (lambda: batches(watched, False)) if len(watched) else None
        train = batches(self.split.train, True)
        return task, _experiment.fit(config, task, train, watch, workdir)

    def make_bundle(self, task: JointCloning, result) -> Parts:
        """The parts, those that were trained with their new parameters."""
        known = task.parts(result.variables)
        return self.start.trained({part: known[part] for part in result.variables["params"]})

    def test_set(self) -> tuple[np.ndarray, np.ndarray]:
        """Recordings of one length, and of whom."""
        config = self.config.eval
        if config.side not in ("test", "validation") or not len(getattr(self.split, config.side)):
            raise ConfigError(f"eval.side {config.side}: nobody is on it; see test_speakers")
        if not self.noises or not len(self.noises.test):
            raise ConfigError("no noises to evaluate in: give a set of five or more as noise")
        size = round(config.seconds * self.clips.frontend.sample_rate)
        side = getattr(self.split, config.side)
        clean, clips = loaders.equal_segments(self.clips, side, size, config.clips)
        if not len(clean):
            raise ConfigError(f"nobody speaks for {config.seconds:g} s: lower eval.seconds")
        return clean, self.speakers[clips]

    def measure(self, parts: Parts, test_set, out: pathlib.Path) -> dict:
        """See `evaluation.evaluate`."""
        systems = {"in series": self.start, "joint": parts}
        shuffled = np.random.default_rng(self.config.seed).permutation(self.noises.test)
        results = evaluation.evaluate(
            {name: (each.repairer, each.encoder) for name, each in systems.items()},
            self.start.encoder,
            *test_set,
            self.noises.waveforms(shuffled),
        )
        print(evaluation.summary(results))
        return results | {"noises": self.noises.names(shuffled)}

    def final_bundle(self, workdir: pathlib.Path) -> FlowSynthesizer:
        """The synthesizer, which takes the parts that it names along wherever it is saved."""
        parts, _ = self.bundle(workdir)
        corpora = self.clips.describe(self.trained_on())
        return parts.save(workdir / "parts", self.start, self.NAME, corpora)

    def facts(self, results: dict) -> dict:
        """See `_experiment.Experiment`."""
        title = "cosine with the clean profile"
        return {
            "corpora": self.noises.clips.describe(self.noises.train),
            "summary": "Text-to-speech with voice cloning from noisy recordings: repair, speaker "
            "encoder and synthesizer, trained as one function.",
            "protocol": f"{results['protocol']}, with noises held out, too",
            "reference": "the parts in series",
            "metrics": {
                condition: {title: row["joint"] | {"reference": row["in series"]["value"]}}
                for condition, row in results["conditions"].items()
            },
        }


if __name__ == "__main__":
    _run.main(Experiment, CONFIG, PRESETS)
