"""What `experiments.synthesis` does: texts as symbols, voices, held-out sentences and speakers, and the training.

Shape letters: B clips, E embedding.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import sys
import zlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from data_pipelines import features, loaders, transcripts, transforms
from data_pipelines.corpora import UNKNOWN
from data_pipelines.loaders import LoaderConfig
from experiments import _run
from lin_jax import bundles, metrics
from lin_jax.audio import files
from lin_jax.errors import ConfigError
from lin_jax.models.tacotron import Tacotron
from lin_jax.tasks.base import Variables
from lin_jax.tasks.synthesis import Synthesis, SynthesisConfig, move_to_anchors
from lin_jax.text import SymbolTable
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

TABLE = "table"  # voices are those of the training speakers, by number
KNOWN_CLIPS = 6  # of a speaker who was learnt from, in which the voice is heard
GRAIN = 16  # symbols, or frames: texts and recordings are padded to its multiples


@dataclasses.dataclass
class NetworkConfig:
    """Size of the network; see `Tacotron`."""

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
class Stages:
    """Trainings that follow one another, each going on with the parameters of the last.

    Attributes:
        reductions: frames that the decoder makes in one step: many first, since a short way is
            learnt faster.
        steps: how long each is.
    """

    reductions: tuple[int, ...] = (4,)
    steps: tuple[int, ...] = (10000,)

    def validate(self):
        """Raises ConfigError unless they can follow one another."""
        if (
            len(self.reductions) != len(self.steps)
            or not self.steps
            or min(self.reductions + self.steps) < 1
        ):
            raise ConfigError(
                f"stages.reductions {self.reductions} and steps {self.steps}: give as many of each"
            )


@dataclasses.dataclass
class EvalConfig:
    """How a training is judged; see `_judgement`.

    Attributes:
        encoder: name or folder of the speaker bundle that compares the voices.
        clips: of each corpus, of voices in training, and as many of those held out; the speakers
            take turns.
        copies: sentences that each voice held out says, whoever said them, to see how well voices
            are copied.
        heard_seconds: how long such a voice is heard, at least; it is judged by each of these. 0 is
            a single clip.
        lengths: how many of their sentences are joined to one text, to see how far attention holds.
        expected: what the recogniser takes to be likely: "texts", those of the corpora, or
            "english".
        profile: clips of a speaker by which the voice is known.
        batch_size: texts that are spoken at once.
        examples: of these clips, to listen to.
    """

    encoder: str = "speaker_encoder"
    clips: int = 50
    copies: int = 12
    heard_seconds: tuple[float, ...] = (0.0, 5.0)
    lengths: tuple[int, ...] = (1, 2, 4, 8)
    expected: str = "texts"
    profile: int = 8
    batch_size: int = 16
    examples: int = 3


@dataclasses.dataclass
class Config:
    """Everything the experiment can be told.

    Attributes:
        init: name or folder of a synthesis bundle to go on from: its network, symbols and speaker
            encoder are taken over, and only the last stage is trained, or with steps of 0 nothing.
            Of several, with commas between them, which went on from the same one, the mean of their
            weights.
        voices: "table", or the name or folder of a speaker bundle: a voice is then what it hears in
            a clip, in training in any other clip of the same speaker.
        vocoder: name or folder of the vocoder bundle that makes the sound where it is judged and
            shipped; "" is Griffin-Lim.
        anchor_voices: corpora, with commas between them, in whose voices speech will be understood; other
            voices are moved towards the nearest ones of these where they are judged and shipped.
        min_anchor_similarity: how far, as a cosine; see `move_to_anchors`.
        language: of the texts, as espeak-ng names it.
        form: of the symbols, "characters" or "phonemes".
        speech: share of the training batches whose source is a recording in place of a text, as it
            always is of clips that have none; 0 learns texts only.
        longest_seconds: clips that are longer are left out.
        hold_out_voices: speakers of each corpus that nobody learns from; at most a fifth of them,
            and none where voices are a table.
        hold_out_texts: sentences nobody learns from, as a share of all different ones.
        seed: of the choice of both.
        eval_batches: batches in an evaluation during training.
    """

    init: str = ""
    voices: str = "speaker_encoder"
    vocoder: str = ""
    anchor_voices: str = ""
    min_anchor_similarity: float = 0.8
    language: str = "en-us"
    form: str = "phonemes"
    speech: float = 0.3
    longest_seconds: float = 12.0
    hold_out_voices: int = 10
    hold_out_texts: float = 0.2
    seed: int = 0
    eval_batches: int = 4
    stages: Stages = dataclasses.field(default_factory=Stages)
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    task: SynthesisConfig = dataclasses.field(default_factory=SynthesisConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)
    judge: EvalConfig = dataclasses.field(default_factory=EvalConfig)


class Experiment:
    """One or several corpora, with texts or without, and the speech that can be learnt from them.

    Args:
        config: see `Config`.
        folder: the feature set, or several with commas between them; their store is "features".
    """

    def __init__(self, config: Config, folder: pathlib.Path):
        self.config = config
        self.start = self._load(config.init) if config.init else None
        self.clips = features.open_features(folder, self.start and self.start.frontend)
        rows = self.clips.rows
        if self.start:
            self.table, self.heard_by = self.start.table, self.start.encoder
            self.stages = [(self.start.model.reduction, config.stages.steps[-1])]
        else:
            config.stages.validate()
            self.heard_by = config.voices
            self.table = SymbolTable.of((row["text"] for row in rows), config.language, config.form)
            self.stages = list(zip(config.stages.reductions, config.stages.steps, strict=True))
        self.symbols, self.problems = transcripts.read(rows, self.table)
        too_long = {
            index: f"{row['seconds']:.1f} s long, more than {config.longest_seconds:g}"
            for index, row in enumerate(rows)
            if row["seconds"] > config.longest_seconds
        }
        self.texts = np.array([row["text"] for row in rows])
        wordless = () if config.speech else np.flatnonzero(self.texts == "").tolist()
        self.problems = (
            too_long | self.problems | dict.fromkeys(wordless, "no text, and speech is 0")
        )
        if len(self.problems) == len(rows):
            raise ConfigError(
                f"{folder}: no clip is of use; the first: {rows[0]['id']}: {self.problems[0]}"
            )
        self.speakers, self.speeds = self.clips.speakers, self.clips.speeds
        # What is said, however it is written: by this a sentence is held out, in every corpus and
        # in every training. Of a recording without a text only the same one at other speeds says
        # the same.
        self.words = np.array(
            [" ".join(re.findall(r"\w+", row["text"].lower())) or row["path"] for row in rows]
        )
        self._split()

    def fit(self, workdir: pathlib.Path) -> tuple[Synthesis, Variables, int]:
        """Train all stages; go on, or return at once, where that was done before.

        Writes problems.json with the clips that were left out, each with the reason, symbols.json,
        and a folder for each stage.

        Returns:
            The task, the variables to use, and of which step in the last stage they are.
        """
        config = self.config
        workdir.mkdir(parents=True, exist_ok=True)
        named = {self.clips.rows[index]["id"]: reason for index, reason in self.problems.items()}
        (workdir / "problems.json").write_text(
            json.dumps(named, indent=2, ensure_ascii=False) + "\n"
        )
        (workdir / "symbols.json").write_text(
            json.dumps(self.table.to_dict(), ensure_ascii=False) + "\n"
        )
        if named:
            print(
                f"note: {len(named)} of {len(self.clips)} clips left out: {workdir}/problems.json",
                file=sys.stderr,
            )
        voices, variables, step = self.voices(workdir), self.start and self.start.variables, 0
        for reduction, steps in self.stages:
            task = self.make_task(voices, reduction, fresh=variables is None)
            if not steps:
                continue  # the bundle to go on from, as it is
            settings = dataclasses.replace(
                config, train=dataclasses.replace(config.train, num_steps=steps)
            )
            train = self._loader(
                self.train, voices, config.loader, train=True, speech=config.speech
            )
            watch = (lambda: self._validation_batches(voices)) if len(self.validation) else None
            params = variables and variables["params"]
            result = _run.fit(
                settings, task, train, watch, workdir / f"reduction_{reduction}", params=params
            )
            variables, step = result.variables, result.best_step or int(result.state.step)
        return task, variables, step

    def ship(self, workdir: pathlib.Path) -> pathlib.Path:
        """Save the training as a bundle.

        Args:
            workdir: of the experiment, with what `_judgement.judge` wrote in the folder "evaluate".
        """
        if self.heard_by == TABLE:
            raise ConfigError(
                "a bundle speaks in voices that are heard: train with --config.voices=speaker"
            )
        results = _run.judged(workdir)
        task, variables, _ = self.fit(workdir / "train")
        names = np.unique(self.speakers[self.learnt])
        heard = self.heard(workdir / "train", task, variables, list(map(self.known, names)))
        rows = [self.clips.rows[index] for index in self.learnt]
        sexes = {row["speaker"]: row["labels"].get("sex", UNKNOWN) for row in rows}
        bundle = bundles.Synthesizer(
            "synthesis",
            task.model,
            self.clips.frontend,
            {"params": variables["params"]},
            task.mean,
            task.std,
            voices=heard["voice"],
            ltas=heard["ltas"],
            ltas_corrections=heard["ltas_correction"],
            names=tuple(names.tolist()),
            sexes=tuple("" if sexes[name] == UNKNOWN else sexes[name] for name in names),
            table=self.table,
            encoder=self.heard_by,
            encoder_fingerprint=bundles.load(self.heard_by).fingerprint,
            max_seconds=self.config.task.max_seconds,
            source_mfcc=self.config.task.source_mfcc,
            sources=task.sources,
            trained_seconds=max(row["seconds"] for row in rows),
            vocoder=self.config.vocoder,
            anchor_voices=tuple(np.unique(self.speakers[self.anchor_voices]).tolist()),
            min_anchor_similarity=self.config.min_anchor_similarity,
        )
        tools = ", ".join(f"{name} by {tool}" for name, tool in results["tools"].items())
        metrics = {f"{side} voices": _metrics(results[side]) for side in results["sides"]}
        metrics |= {
            f"cloned: {corpus}": _cloned_metrics(one) for corpus, one in results["copied"].items()
        }
        provenance = _run.provenance(
            self.clips,
            self.learnt,
            "python -m experiments.synthesis --mode=ship",
            self.config.init,
            summary="Text-to-speech and voice conversion with voice cloning: says a text, or what is "
            "said in a recording, in the voice of a short reference clip or of its training.",
            protocol=f"Sentences that nobody was trained on; {len(names)} voices, others held out "
            f"altogether. {tools or 'Neither MCD nor word error rate was measured'}.",
            reference="the vocoder with true frames (MCD) or the recordings themselves",
            metrics=metrics,
        )
        return bundles.save(
            workdir / "ship/synthesis", bundle, provenance=provenance, dtype="float16"
        )

    def make_task(self, voices: np.ndarray, reduction: int, *, fresh: bool = False) -> Synthesis:
        """The task for what is in the training clips; one that is not fresh has its schedules behind it."""
        task, speech = self.config.task, bool(self.config.speech)
        if self.start:
            network, scale = self.start.model, (self.start.mean, self.start.std)
            speech = "speech" in self.start.sources
        else:
            settings, scale = (
                dataclasses.asdict(self.config.network),
                self.clips.mean_std(self.train),
            )
            network = Tacotron(
                num_mels=self.clips.frontend.num_features,
                num_symbols=len(self.table),
                num_voices=int(voices.max()) + 1 if voices.ndim == 1 else 0,
                reduction=reduction,
                max_reduction=max(self.config.stages.reductions),
                **settings | {name: tuple(settings[name]) for name in ("prenet", "postnet")},
            )
        if not fresh:
            last = {
                name: getattr(task, name)[1:] * 2 for name in ("guided_weight", "prenet_dropout")
            }
            task = dataclasses.replace(task, **last)
        return Synthesis(
            network,
            self.clips.frontend,
            *scale,
            voice_size=voices.shape[1] if voices.ndim == 2 else 0,
            sources=("text", "speech") if speech else ("text",),
            config=task,
        )

    def voices(self, workdir: pathlib.Path) -> np.ndarray:
        """The voice of each clip: a number [clips] int32, or the embedding of what is heard [clips, E] float32."""
        if self.heard_by == TABLE:
            names = np.unique(self.speakers[self.train])
            return np.searchsorted(names, self.speakers).clip(max=len(names) - 1).astype(np.int32)
        path = workdir / "voices.npy"
        if not path.exists():
            encoder = bundles.load(self.heard_by)
            paths = (row["path"] for row in self.clips.rows)
            heard = np.stack(
                [_hear(encoder, *clip) for clip in zip(paths, self.speeds, strict=True)]
            )  # [clips, E]
            with path.open("wb") as file:
                np.save(file, heard)
        return np.load(path)

    def heard(
        self, workdir: pathlib.Path, task: Synthesis, variables, references: Sequence[np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Voices that are each heard in some clips, as `Synthesizer.clone_voice` joins them.

        Args:
            workdir: of the training.
            task: what was trained.
            variables: the same.
            references: clips of each voice (B).

        Returns:
            "voice" [B, …] and, unless it is a number, what `ltas_correction` finds.
        """
        voices = self.voices(workdir)
        if self.heard_by == TABLE:
            return {"voice": voices[[own[0] for own in references]]}
        clips, voices = np.unique(np.concatenate(references)), self.move_to_anchors(voices)
        found = {"voice": voices[clips]} | self.ltas_correction(task, variables, clips, voices)
        places = [np.searchsorted(clips, own) for own in references]
        found = {
            name: np.stack([values[own].mean(axis=0) for own in places])
            for name, values in found.items()
        }
        return found | {
            "voice": found["voice"] / np.linalg.norm(found["voice"], axis=1, keepdims=True)
        }

    def move_to_anchors(self, voices: np.ndarray) -> np.ndarray:
        """The voice of each clip [clips, E] as it is spoken in, near to the voices that are clear."""
        clear = metrics.mean_by_speaker(
            voices[self.anchor_voices], self.speakers[self.anchor_voices]
        )[1]
        return move_to_anchors(voices, clear, self.config.min_anchor_similarity)

    def ltas_correction(
        self, task: Synthesis, variables, clips, voices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """What `Synthesis.ltas_correction` finds in some clips, each said again in its own of the voices [clips, E]."""
        find, size = jax.jit(task.ltas_correction), self.config.judge.batch_size
        most, found = -(-self.clips.lengths[clips].max() // GRAIN) * GRAIN, []
        for start in range(0, len(clips), size):
            rows = np.resize(
                clips[start : start + size], size
            )  # the last batch is filled up by itself
            fitted = [transforms.fit(self.clips[int(clip)], "features", most) for clip in rows]
            source, length = (
                np.stack([clip[name] for clip in fitted]) for name in ("features", "num_frames")
            )
            batch = {"source": source, "num_source_frames": length, "voice": voices[rows]}
            found.append(jax.device_get(find(variables, batch)))
        return {
            name: np.concatenate([one[name] for one in found])[: len(clips)] for name in found[0]
        }

    def copies(self, seconds: float) -> tuple[list[np.ndarray], np.ndarray]:
        """Clips in which the voices held out are heard (B), and what is said in them [B]: `judge.copies` each.

        Speakers of a single clip are left out, since nothing else tells how they sound.

        Args:
            seconds: of the clips of a voice, one clip at least and one less than there are.
        """
        rng, references, said = np.random.default_rng(self.config.seed), [], []
        judged = np.concatenate([self.test_seen, self.test_unseen])
        sentences = self.texts[judged[np.unique(self.words[judged], return_index=True)[1]]]
        lengths = np.array([row["seconds"] for row in self.clips.rows])
        for speaker in np.unique(self.speakers[self.strangers]):
            own = rng.permutation(self.strangers[self.speakers[self.strangers] == speaker])
            if len(own) > 1:
                chosen = rng.permutation(sentences)[: self.config.judge.copies].tolist()
                for turn in range(len(chosen)):
                    clips = np.roll(own, -turn)[:-1]
                    heard = np.searchsorted(np.cumsum(lengths[clips]), seconds) + 1
                    references.append(clips[:heard])
                said += chosen
        return references, np.array(said)

    def known(self, speaker: str) -> np.ndarray:
        """The clips in which a bundle hears the voice of a speaker who is learnt from [at most `KNOWN_CLIPS`]."""
        return self.learnt[self.speakers[self.learnt] == speaker][:KNOWN_CLIPS]

    def references(self) -> np.ndarray:
        """For each clip another one of its speaker, in which the voice is heard [clips] int."""
        chosen = np.arange(len(self.clips))
        for speaker in np.unique(self.speakers):
            own = np.flatnonzero(self.speakers == speaker)
            chosen[own] = np.roll(own, 1)
        return chosen

    def _load(self, names: str) -> bundles.Synthesizer:
        """The bundle to go on from; of several the first, with the mean of their weights (Wortsman et al., 2022)."""
        starts = [(name, bundles.load(name)) for name in names.split(",")]
        first = starts[0][1]
        for name, start in starts:
            if start.task != bundles.Synthesizer.task:
                raise ConfigError(
                    f"{name}: a {start.task} bundle; give one of {bundles.Synthesizer.task} as init"
                )
            if self.config.speech and "speech" not in start.sources:
                raise ConfigError(f"{name}: says texts only: set speech to 0")
            if _kind(start) != _kind(first):
                raise ConfigError(
                    f"{name}: another network, or other frames, symbols or voices, than the first one"
                )
        weights = (start.variables for _, start in starts)
        return dataclasses.replace(
            first, variables=jax.tree.map(lambda *its: np.mean(its, axis=0), *weights)
        )

    def _split(self) -> None:
        """Clips to train on, to watch by and to judge on; no text, and no held-out voice, is in training as well."""
        config = self.config
        good = np.array([index for index in range(len(self.clips)) if index not in self.problems])
        people, corpora, unseen = (
            self.clips.people,
            self.clips.corpora,
            np.zeros(len(self.clips), bool),
        )
        for corpus in np.unique(corpora):
            names = np.unique(people[corpora == corpus])
            count = 0 if self.heard_by == TABLE else min(config.hold_out_voices, len(names) // 5)
            names = np.random.default_rng(config.seed).permutation(names)[:count]
            unseen |= (corpora == corpus) & np.isin(people, names)
        lots = np.array(
            [zlib.crc32(f"{config.seed} {words}".encode()) / 2**32 for words in self.words]
        )
        read = self.texts != ""  # without a text nobody can be judged, so that it is learnt from
        held_out, judged = (
            read & (lots < config.hold_out_texts),
            read & (lots < config.hold_out_texts / 2),
        )
        self.train = good[~unseen[good] & ~held_out[good]]
        # Played at another speed, a clip is learnt from, but tells nobody how people speak.
        self.natural = good = good[self.speeds[good] == 1]
        self.learnt = self.train[self.speeds[self.train] == 1]
        seen = good[np.isin(self.speakers[good], self.speakers[self.learnt])]
        self.validation = seen[held_out[seen] & ~judged[seen]]
        self.test_seen = seen[judged[seen]]
        self.strangers = good[unseen[good]]
        self.test_unseen = good[
            unseen[good] & held_out[good]
        ]  # nobody watches the training by a held-out voice
        if not len(self.train):
            raise ConfigError(
                "nothing is left to train on: lower hold_out_texts or hold_out_voices"
            )
        named = config.anchor_voices.split(",") if config.anchor_voices else []
        if unknown := set(named) - set(corpora):
            there = ", ".join(np.unique(corpora))
            raise ConfigError(
                f"clear {config.anchor_voices}: no corpus is named {unknown.pop()}; choose from {there}"
            )
        if not 0 <= config.min_anchor_similarity <= 1:
            raise ConfigError(
                f"min_anchor_similarity {config.min_anchor_similarity:g}: a cosine; choose one from 0 to 1"
            )
        self.anchor_voices = self.learnt[np.isin(corpora[self.learnt], named)]

    def _validation_batches(self, voices: np.ndarray) -> Iterator[dict]:
        """The same clips every time, from their texts and, where that is learnt, from recordings."""
        size = self.config.eval_batches * self.config.loader.batch_size
        chosen = np.sort(
            np.random.default_rng(self.config.seed).permutation(self.validation)[:size]
        )
        settings = dataclasses.replace(self.config.loader, buckets=1)
        for speech in (0, 1) if self.config.speech else (0,):
            with contextlib.closing(
                self._loader(chosen, voices, settings, train=False, speech=speech)
            ) as batches:
                yield from batches

    def _loader(self, indices: np.ndarray, voices: np.ndarray, settings: LoaderConfig, **options):
        """Batches of some clips; who says the same in a recording is one of them."""
        said = {}
        for index in indices:
            said.setdefault(self.words[index], []).append(index)
        partners = [np.array(said.get(words, ())) for words in self.words]
        references = self.references()[:, None]
        if options[
            "train"
        ]:  # any other clip of the speaker, so that the voice is what they have in common
            own = {
                name: indices[self.speakers[indices] == name]
                for name in np.unique(self.speakers[indices])
            }
            others = (
                np.setdiff1d(own.get(name, index), index)
                for index, name in enumerate(self.speakers)
            )
            references = [
                clips if len(clips) else np.array([index]) for index, clips in enumerate(others)
            ]
        return loaders.make_synthesis_loader(
            self.clips,
            indices,
            self.symbols,
            voices,
            settings,
            partners=partners,
            references=references,
            **options,
        )


def _kind(start: bundles.Synthesizer) -> tuple:
    """What bundles have in common if a mean of their weights makes sense."""
    scale = (start.mean.tolist(), start.std.tolist())
    return start.model, start.frontend, start.table.to_dict(), start.encoder_fingerprint, scale


def _hear(encoder: bundles.Verifier, path: str, speed: float) -> np.ndarray:
    """The embedding [E] of the voice in a recording that is played at a speed."""
    if speed == 1:
        return encoder.embed(path)
    samples, rate = files.read(path)
    return encoder.embed(samples, round(rate * speed))


def _with_reference(systems: dict, name: str, reference: str = "original") -> dict | None:
    """A metric of what was generated and, where it was measured, that of another system."""
    if name not in systems["generated"]:
        return None
    before = systems.get(reference, {}).get(name)
    return {"value": systems["generated"][name]} | ({} if before is None else {"reference": before})


def _cloned_metrics(one: dict) -> dict:
    """The metrics of cloned voices as a card has them."""
    return {
        "reference length, s": one["heard_seconds"],
        "clips of speakers": f"{one['clips']} of {one['speakers']}",
        "speaker similarity": _with_reference(one, "similarity"),
        "speaker_top1": _with_reference(one, "speaker_top1"),
        "speaker_top1_in_group": _with_reference(one, "speaker_top1_in_group"),
        "word error rate": _with_reference(one, "word_error"),
    }


def _metrics(one: dict) -> dict:
    """The metrics of voices that were judged together as a card has them."""
    attention = one["attention"]["1"]
    return {
        "clips of speakers": f"{one['clips']} of {one['speakers']}",
        "MCD, dB": _with_reference(one, "mcd", "copied"),
        "word error rate": _with_reference(one, "word_error"),
        "speaker similarity": _with_reference(one, "similarity"),
        "speaker_top1": _with_reference(one, "speaker_top1"),
        "monotonic": attention["diagonal"],
        "failed to stop": attention["stop_failures"],
    }
