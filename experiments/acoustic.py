r"""Speaking by durations and a flow, learnt from people who read: aligner, pieces, acoustic model.

    python -m data_pipelines librispeech --audio-dir READERS --out features/readers \
        --frontend.n_mels=80 --frontend.n_fft=1024 --frontend.win_length=1024 \
        --frontend.hop_length=256 --frontend.level=rms --frontend.level_db=-25
    python -m data_pipelines table --audio-dir KATHLEEN --out features/kathleen --frontend…
    python -m experiments.acoustic --features features/readers,features/kathleen --workdir runs/acoustic

--mode=train     aligns texts and recordings, cuts at pauses, and learns from speakers not held out
--mode=evaluate  the bundle says sentences that nobody learnt, in voices learnt and held out: WAV
                 files beside the recordings, and spoken.jsonl for whatever transcribes them
--mode=ship      the bundle, with the card that --mode=evaluate fills in

On two cores aligning takes 5 minutes and 4 hours of speech a step of 0.7 s (20 clips).
"""

import dataclasses
import json
import pathlib
import re
import zlib
from collections import Counter

import jax
import numpy as np

from data_pipelines import features, loaders, pieces, transcripts
from data_pipelines.loaders import LoaderConfig
from experiments import _run
from lin_jax import alignment, bundles
from lin_jax.audio import files
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.errors import ConfigError
from lin_jax.models.acoustic import AcousticModel
from lin_jax.models.aligner import Aligner
from lin_jax.tasks.acoustic import AcousticConfig, AcousticSynthesis
from lin_jax.tasks.alignment import Alignment
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig


@dataclasses.dataclass
class NetworkConfig:
    """Size of the network; see `AcousticModel`."""

    hidden: int = 192
    context: int = 64
    width: int = 224
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 4)
    expansion: int = 2
    dropout: float = 0.1
    unroll: int = 1


@dataclasses.dataclass
class Config:
    """Everything the experiment can be told.

    Attributes:
        init: name or folder of a synthesis bundle whose symbols, and text encoder if it has the
            same size, are gone on from; "" begins anew.
        encoder: name or folder of the speaker bundle that embeds the voices.
        vocoder: name or folder of the vocoder bundle of the shipped bundle.
        language: of the texts, as espeak-ng names it, where there is no `init`.
        punctuated: corpora, with commas between them, whose texts have their punctuation.
        hold_out_voices: speakers of each corpus that nobody learns from; at most a fifth of them.
        hold_out_texts: sentences nobody learns from, as a share of all.
        seed: of the choice of both.
        min_seconds: of a piece.
        max_seconds: of a piece.
        pause_seconds: from which on a recording may be cut.
        align_steps: of the aligner's training.
        learnt_voices: speakers that ship as voices with names, with commas between them; "" is all.
        sentences: of each held-out speaker, and of all learnt ones, that are said in an evaluation.
    """

    init: str = "synthesis"
    encoder: str = "speaker_encoder"
    vocoder: str = "vocoder"
    language: str = "en-us"
    punctuated: str = ""
    hold_out_voices: int = 8
    hold_out_texts: float = 0.02
    seed: int = 0
    min_seconds: float = 0.7
    max_seconds: float = 7.4
    pause_seconds: float = 0.16
    align_steps: int = 700
    learnt_voices: str = ""
    sentences: int = 4
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    task: AcousticConfig = dataclasses.field(default_factory=AcousticConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)


CONFIG = Config(
    optim=OptimConfig(
        learning_rate=1.2e-3, warmup_steps=200, weight_decay=0.01, clip_norm=1.0, ema_decay=0.998
    ),
    train=TrainConfig(num_steps=3500, log_every=50, eval_every=500, checkpoint_every=250),
    loader=LoaderConfig(batch_size=20, buckets=4),
)


class Experiment:
    """Corpora with texts, and the speech that can be learnt from them; the store is "features"."""

    def __init__(self, config: Config, folder: pathlib.Path):
        self.config = config
        start = bundles.load(config.init) if config.init else None
        self.clips = features.open_features(folder, start and start.frontend)
        rows, self.start = self.clips.rows, start
        self.table = start.table if start else transcripts.table_of(rows, config.language)
        self.symbols, self.problems = transcripts.read(rows, self.table)
        read = np.array([len(ids) > 0 for ids in self.symbols])
        if not read.any():
            raise ConfigError(f"{folder}: no clip has a text: transcribe some")
        good = read & ~np.isin(np.arange(len(rows)), list(self.problems))
        words = (re.findall(r"\w+", row["text"].lower()) for row in rows)
        lots = [zlib.crc32(f"{config.seed} {' '.join(said)}".encode()) / 2**32 for said in words]
        held_out = np.array(lots) < config.hold_out_texts
        unseen = np.zeros(len(rows), bool)
        for corpus in np.unique(self.clips.corpora):
            names = np.unique(self.clips.people[self.clips.corpora == corpus])
            count = min(config.hold_out_voices, len(names) // 5)
            drawn = np.random.default_rng(config.seed).permutation(names)[:count]
            unseen |= np.isin(self.clips.people, drawn)
        self.train = np.flatnonzero(good & ~unseen & ~held_out)
        self.validation = np.flatnonzero(good & ~unseen & held_out)
        self.test = np.flatnonzero(good & unseen)
        self.readable = np.flatnonzero(good)

    def align(self, workdir: pathlib.Path) -> dict[int, np.ndarray]:
        """Durations of the symbols of each clip with a text; what was aligned before is read."""
        path = workdir / "durations.npz"
        if not path.exists():
            config, mean_std = self.config, self.clips.mean_std(self.train)
            symbols = [pieces.with_silence(self.table, ids) for ids in self.symbols]
            task = Alignment(
                Aligner(len(self.table)), *mean_std, schedule_steps=config.align_steps // 2
            )
            voices = np.zeros(len(self.clips), np.int32)
            settings = dataclasses.replace(config.loader, batch_size=min(12, len(self.train)))
            train = loaders.make_synthesis_loader(
                self.clips, self.train, symbols, voices, settings, train=True
            )
            settings = dataclasses.replace(
                config,
                train=dataclasses.replace(config.train, num_steps=config.align_steps, eval_every=0),
                optim=OptimConfig(learning_rate=2e-3, warmup_steps=50, clip_norm=1.0),
            )
            fitted = _run.fit(settings, task, train, None, workdir / "aligner")
            predict = jax.jit(task.predict)
            found = {}
            batches = loaders.make_synthesis_loader(
                self.clips, self.readable, symbols, voices, config.loader, train=False
            )
            for batch in batches:
                logs = np.asarray(predict(fitted.variables, batch)["log_alignment"])
                for b, index in enumerate(batch["index"].tolist()):
                    T, L = batch["num_frames"][b], batch["num_symbols"][b]
                    if batch["weight"][b] and L <= T:
                        found[index] = alignment.durations(logs[b, :T, :L])
            np.savez(path, **{str(index): counts for index, counts in found.items()})
        return {int(name): counts for name, counts in np.load(path).items()}

    def cut(self, workdir: pathlib.Path) -> dict[int, list[pieces.Piece]]:
        """The pieces of each clip; report.json tells what was left out and why."""
        config, rate = self.config, self.clips.frontend.sample_rate / self.clips.frontend.hop_length
        limits = {
            name: round(getattr(config, f"{name.split('_')[0]}_seconds") * rate)
            for name in ("min_frames", "max_frames", "pause_frames")
        }
        found, dropped = {}, Counter()
        for index, counts in self.align(workdir).items():
            symbols = pieces.with_silence(self.table, self.symbols[index])
            punctuated = self.clips.corpora[index] in config.punctuated.split(",")
            found[index], left = pieces.cut(
                self.table, index, symbols, counts, punctuated=punctuated, **limits
            )
            dropped += left
        seconds = sum(piece.num_frames for own in found.values() for piece in own) / rate
        report = {"pieces": sum(map(len, found.values())), "hours": seconds / 3600} | dropped
        (workdir / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        return found

    def voices(self, workdir: pathlib.Path) -> np.ndarray:
        """The embedding of every clip [clips, E]."""
        path = workdir / "voices.npy"
        if not path.exists():
            encoder = bundles.load(self.config.encoder)
            rows = encoder.embed_all(row["path"] for row in self.clips.rows)
            nobody = np.zeros(encoder.embedding_size, np.float32)
            np.save(path, [getattr(row, "embedding", nobody) for row in rows])
        return np.load(path)

    def fit(self, workdir: pathlib.Path) -> tuple[AcousticSynthesis, dict]:
        """Train; go on, or return at once, where that was done before."""
        config = self.config
        workdir.mkdir(parents=True, exist_ok=True)
        cut, voices = self.cut(workdir), self.voices(workdir)
        size = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in dataclasses.asdict(config.network).items()
        }
        network = AcousticModel(self.clips.frontend.num_features, len(self.table), **size)
        mean_std = self.clips.mean_std(self.train)
        task = AcousticSynthesis(
            network, self.clips.frontend, *mean_std, voices.shape[1], config.task
        )
        speakers = self.clips.speakers
        own = {name: self.train[speakers[self.train] == name] for name in np.unique(speakers)}
        references = [
            own[name] if len(own[name]) else np.array([i]) for i, name in enumerate(speakers)
        ]

        def batches(indices, train):
            chosen = [piece for index in indices for piece in cut.get(int(index), ())]
            settings = dataclasses.replace(
                config.loader, batch_size=min(config.loader.batch_size, len(chosen))
            )
            return pieces.make_loader(self.clips, chosen, voices, references, settings, train=train)

        watch = any(cut.get(int(index)) for index in self.validation)
        params = task.init(jax.random.key(config.train.seed))["params"]
        for name, old in (
            (("symbols", "symbols"), ("encoder", "text_encoder")) if self.start else ()
        ):
            known = self.start.variables["params"].get(old, {})
            if jax.tree.map(np.shape, known) == jax.tree.map(np.shape, params[name]):
                params[name] = known
        result = _run.fit(
            config,
            task,
            batches(self.train, True),
            (lambda: batches(self.validation, False)) if watch else None,
            workdir / "model",
            params=params,
        )
        return task, result.variables

    def bundle(self, workdir: pathlib.Path) -> FlowSynthesizer:
        """What ships."""
        task, variables = self.fit(workdir)
        voices, config, rows = self.voices(workdir), self.config, self.clips.rows
        names = config.learnt_voices.split(",") if config.learnt_voices else None
        names = names or np.unique(self.clips.speakers[self.train]).tolist()
        clips = {name: self.train[self.clips.speakers[self.train] == name] for name in names}
        if missing := [name for name, own in clips.items() if not len(own)]:
            raise ConfigError(f"learnt_voices: nobody is called {missing[0]}: check the corpora")
        means = np.stack([voices[own].mean(axis=0) for own in clips.values()])
        sexes = [rows[own[0]]["labels"].get("sex", "") for own in clips.values()]
        return FlowSynthesizer(
            "synthesis",
            task.model,
            self.clips.frontend,
            {"params": variables["params"]},
            task.mean,
            task.std,
            voices=(means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32),
            names=tuple(names),
            sexes=tuple(sex if sex in ("female", "male") else "" for sex in sexes),
            table=self.table,
            encoder=config.encoder,
            encoder_fingerprint=bundles.load(config.encoder).fingerprint,
            sources=("text",),
            trained_seconds=config.max_seconds,
            vocoder=config.vocoder,
        )

    def evaluate(self, workdir: pathlib.Path, out: pathlib.Path) -> dict:
        """Let the bundle say held-out sentences; files and what they should say are in `out`."""
        bundle, rows, count = self.bundle(workdir), self.clips.rows, self.config.sentences
        out.mkdir(parents=True, exist_ok=True)
        rng, lines = np.random.default_rng(self.config.seed), []
        for kind, indices in (("learnt", self.validation), ("unseen", self.test)):
            for name in np.unique(self.clips.speakers[indices]):
                own = rng.permutation(indices[self.clips.speakers[indices] == name])
                others = self.train if kind == "learnt" else own[count:]
                others = others[self.clips.speakers[others] == name][:3]
                if not len(others):
                    continue
                voice = bundle.clone_voice([rows[i]["path"] for i in others])
                for i in own[:count]:
                    stem = re.sub(r"\W", "-", rows[i]["id"])
                    line = {"text": rows[i]["text"], "speaker": name}
                    bundle.speak(rows[i]["text"], voice).write(out / f"{stem}-spoken.wav")
                    original = files.load(rows[i]["path"], bundle.frontend)
                    files.write(out / f"{stem}-original.wav", original, bundle.frontend.sample_rate)
                    lines += [
                        line | {"file": f"{stem}-{system}.wav", "kind": f"{system}-{kind}"}
                        for system in ("spoken", "original")
                    ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (out / "spoken.jsonl").write_text(text, encoding="utf-8")
        speakers = self.clips.speakers
        results = {
            "protocol": "speakers and sentences that nobody learnt; each voice cloned from other clips",
            "train_speakers": len(np.unique(speakers[self.train])),
            "test_speakers": np.unique(speakers[self.test]).tolist(),
            "files": len(lines),
            "corpora": np.unique(self.clips.corpora).tolist(),
        }
        (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        return results


def train(config: Config, features: pathlib.Path, workdir: pathlib.Path):
    """One training."""
    Experiment(config, features).fit(workdir / "train")


def evaluate(config: Config, features: pathlib.Path, workdir: pathlib.Path):
    """What ships says what nobody learnt."""
    Experiment(config, features).evaluate(workdir / "train", workdir / "evaluate")


def ship(config: Config, features: pathlib.Path, workdir: pathlib.Path):
    """The bundle, described by what evaluate found in the same workdir."""
    results, experiment = _run.judged(workdir), Experiment(config, features)
    provenance = _run.provenance(
        experiment.clips,
        experiment.train,
        "python -m experiments.acoustic --mode=ship",
        config.init,
        summary="Text-to-speech with voice cloning, by durations and flow matching.",
        protocol=f"{results['protocol']}; {len(results['test_speakers'])} speakers held out, "
        f"{results['train_speakers']} trained on.",
    )
    bundle = experiment.bundle(workdir / "train")
    bundles.save(workdir / "ship/synthesis", bundle, provenance=provenance, dtype="float16")


if __name__ == "__main__":
    _run.main(CONFIG, {"train": train, "evaluate": evaluate, "ship": ship})
