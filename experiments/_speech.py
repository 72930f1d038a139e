"""What the experiments share that learn to speak: texts as symbols, voices, and held-out sentences and speakers."""

import dataclasses
import functools
import itertools
import pathlib
import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from data_pipelines import splits, transcripts
from data_pipelines.corpora import SEXES
from experiments import _experiment
from lin_jax import bundles
from lin_jax.audio import files
from lin_jax.errors import AudioError, ConfigError
from lin_jax.evaluation import synthesis as evaluation
from lin_jax.evaluation.speaker_similarity import SpeakerProfiles
from lin_jax.text import SymbolTable
from lin_jax.vectors import mean_direction

KNOWN_CLIPS = 6  # of a training speaker, from which the voice is taken


@dataclasses.dataclass
class EvalConfig:
    """What a synthesizer is evaluated on.

    Attributes:
        encoder: name or folder of the speaker bundle that compares the voices.
        clips: of each kind of voice, seen in training or not; the speakers take turns.
        seconds: of recordings that a voice not seen in training is cloned from, at least.
        profile: clips of a speaker by which the voice is known.
        examples: of each kind, to listen to.
        texts: whether the recogniser expects the words of the corpora; else any English.
    """

    encoder: str = "speaker"
    clips: int = 40
    seconds: float = 5.0
    profile: int = 8
    examples: int = 3
    texts: bool = False


@dataclasses.dataclass
class Config(_experiment.Config):
    """The settings.

    Attributes:
        encoder: name or folder of the speaker bundle that embeds the voices.
        vocoder: name or folder of the vocoder bundle of the synthesizer; "" is Griffin-Lim.
        language: of the texts, as espeak-ng names it; several have commas between them and each its
            own script. "" is what the bundle reads that is trained on, else en-us.
        max_clip_seconds: clips that are longer are left out.
        hold_out: test speakers of each corpus; at most a fifth of them.
        hold_out_texts: sentences that are not trained on, as a share of all different ones.
        eval_batches: batches in an evaluation during training.
    """

    encoder: str = "speaker_encoder"
    vocoder: str = "vocoder"
    language: str = ""
    max_clip_seconds: float = 17.0
    hold_out: int = 8
    hold_out_texts: float = 0.02
    eval_batches: int = 4
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)


class Experiment(_experiment.Experiment):
    """One or several corpora with texts, and a synthesizer that is trained on them.

    Attributes:
        table: the symbols.
        symbols: of each clip, int32 [L]; none where there is no text.
        problems: clips that are of no use, with the reason.
        usable: the others [clips] bool.
        words: what is said in each clip, however it is written [clips] str.
    """

    STORE = "features"
    EXTRA = False
    UNREAD: ClassVar[bool] = False  # whether clips without a text are trained on

    def __init__(self, config: Config, folder: str | pathlib.Path, bundle: str = ""):
        super().__init__(config, folder, bundle)
        rows, source = self.clips.rows, self.given or self.start
        languages = config.language.split(",") if config.language else ()
        self.table: SymbolTable = transcripts.table_of(
            rows, languages, source.table if source else None
        )
        self.symbols, problems = transcripts.read(rows, self.table)
        longest = config.max_clip_seconds
        for index, row in enumerate(rows):
            if row["seconds"] > longest:
                problems[index] = f"{row['seconds']:.1f} s long, more than {longest:g}"
            elif not row["text"] and not self.UNREAD:
                problems[index] = "no text"
        if len(problems) == len(rows):
            first = min(problems)
            raise ConfigError(
                f"{folder}: no clip is of use; the first: {rows[first]['id']}: {problems[first]}"
            )
        self.problems = problems
        # By what is said, however it is written, a sentence is held out in every corpus. Of a
        # recording without a text only the same one at other speeds says the same.
        self.texts = np.array([row["text"] for row in rows])
        self.words = np.array(
            [" ".join(re.findall(r"\w+", row["text"].lower())) or row["path"] for row in rows]
        )
        self.usable = np.ones(len(rows), bool)
        self.usable[list(problems)] = False
        self.split = splits.hold_out_sentences(
            self.clips.people,
            self.corpora,
            np.where(self.texts == "", "", self.words),
            self.usable,
            self.clips.speeds == 1,
            config.hold_out,
            config.hold_out_texts,
            seed=config.seed,
        )

    def hold_out(self) -> None:
        """Only once the texts are known."""

    def voices(self, workdir: pathlib.Path) -> np.ndarray:
        """The embedding of each clip [clips, E], zero where there is no voice; kept in a workdir."""
        path = workdir / "voices.npy"
        if not path.exists():
            encoder = bundles.load(self.config.encoder)
            rate, recordings = self.clips.frontend.sample_rate, []
            for row, speed in zip(self.clips.rows, self.clips.speeds, strict=True):
                recording = row["path"]
                if speed != 1:  # played faster, and so at another rate
                    samples, recorded_rate = files.read(recording)
                    recording = files.resample(samples, round(recorded_rate * speed), rate)
                recordings.append(recording)
            nobody = np.zeros(encoder.embedding_size, np.float32)
            voices = [
                nobody if isinstance(voice, AudioError) else voice.embedding
                for voice in encoder.embed_all(recordings, rate)
            ]
            workdir.mkdir(parents=True, exist_ok=True)
            np.save(path, voices)
        return np.load(path)

    def known_paths(self, speaker: str) -> list[str]:
        """Recordings of a training speaker, by which the voice ships."""
        natural = self.split.train[self.clips.speeds[self.split.train] == 1]
        chosen = natural[self.speakers[natural] == speaker][:KNOWN_CLIPS]
        return [self.clips.rows[index]["path"] for index in chosen]

    def test_set(self) -> list[evaluation.Sentence]:
        """Sentences that were not trained on, in voices that were and in others."""
        rng, config = np.random.default_rng(self.config.seed), self.config.eval
        read = self.split.test[self.texts[self.split.test] != ""]
        seen = np.isin(self.speakers[read], self.speakers[self.split.train])
        sentences = []
        for kind, clips in (("seen", read[seen]), ("unseen", read[~seen])):
            turns = [
                rng.permutation(clips[self.speakers[clips] == name]).tolist()
                for name in rng.permutation(np.unique(self.speakers[clips]))
            ]
            chosen = itertools.chain.from_iterable(itertools.zip_longest(*turns))
            candidates = (self._sentence(i, kind, read, rng) for i in chosen if i is not None)
            sentences += itertools.islice(filter(None, candidates), config.clips)
        if not sentences:
            raise ConfigError("no sentences to evaluate on: raise hold_out_texts")
        return sentences

    def measure(self, bundle: bundles.Synthesizer, test_set, out: pathlib.Path) -> dict:
        """See `evaluation.evaluate`; also writes report.html."""
        config, profiles = self.config.eval, self.profiles
        known = np.unique(self.texts) if config.texts else ()
        results, speech = evaluation.evaluate(bundle, test_set, profiles, known)
        print(evaluation.summary(results))
        described = {"protocol": self.split.protocol} | results
        evaluation.report(described, test_set, speech, config.examples, out)
        return results

    @functools.cached_property
    def profiles(self) -> SpeakerProfiles:
        """The voices of all speakers, to compare with."""
        config, rows = self.config.eval, self.clips.rows
        natural = self.clips.natural
        clips = {
            name: [
                rows[i]["path"] for i in natural[self.speakers[natural] == name][-config.profile :]
            ]
            for name in np.unique(self.speakers[natural])
        }
        return SpeakerProfiles(bundles.load(config.encoder), clips)

    def facts(self, results: dict) -> dict:
        """See `_experiment.Experiment`."""
        tools = "".join(f" {name}: {tool}." for name, tool in results["tools"].items())
        return {
            "protocol": f"{results['protocol']}. Voices not seen in training were cloned from "
            f"{self.config.eval.seconds:g} s of other recordings.{tools}",
            "reference": "the recordings themselves, or for MCD the vocoder with true frames",
            "metrics": evaluation.card_metrics(results),
        }

    def synthesizer_settings(self, names: Sequence[str]) -> dict:
        """What a bundle is made with that speaks in the voices of training speakers."""
        config, encoder = self.config, bundles.load(self.config.encoder)
        rows = {row["speaker"]: row for row in self.clips.rows}
        sexes = (rows[name]["labels"].get("sex", "") for name in names)
        voices = [mean_direction(encoder.embed_files(self.known_paths(name))) for name in names]
        return {
            "voices": np.stack(voices).astype(np.float32),
            "names": tuple(names),
            "sexes": tuple(sex if sex in SEXES.values() else "" for sex in sexes),
            "table": self.table,
            "encoder": config.encoder,
            "encoder_fingerprint": encoder.fingerprint,
            "vocoder": config.vocoder,
        }

    def _sentence(self, index: int, kind: str, read, rng) -> evaluation.Sentence | None:
        """A clip as a sentence to say; None where there is nothing to clone its voice from."""
        rows, speaker = self.clips.rows, str(self.speakers[index])
        references = self.known_paths(speaker) if kind == "seen" else []
        if kind == "unseen":
            natural = np.flatnonzero((self.speakers == speaker) & (self.clips.speeds == 1))
            others = natural[self.words[natural] != self.words[index]]
            references, seconds = [], 0.0
            for other in rng.permutation(others):
                if seconds < self.config.eval.seconds:
                    references.append(rows[other]["path"])
                    seconds += rows[other]["seconds"]
        if not references:
            return None
        sources: Sequence[int] = read[self.speakers[read] != speaker]
        source = rows[int(rng.choice(sources))] if len(sources) else {"path": "", "text": ""}
        row = rows[index]
        return evaluation.Sentence(
            row["text"],
            speaker,
            kind,
            row["path"],
            tuple(references),
            source["path"],
            source["text"],
        )
