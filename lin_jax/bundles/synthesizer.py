"""A trained synthesizer in use: a text, or a recording, is spoken in a voice of its training or of a recording.

Shape letters: B pieces, L symbols, N samples, T frames, M mel bins, V voices, E embedding.
"""

import dataclasses
import functools
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lin_jax import cancellation
from lin_jax.bundles import saved_voices
from lin_jax.bundles.base import (
    BATCHES,
    WAVEFORM,
    Bundle,
    Function,
    is_path,
    on_device,
    padded,
)
from lin_jax.bundles.vocoder import Vocoder, vocode_function
from lin_jax.errors import AudioError, BundleError, ConfigError, TextError
from lin_jax.text import Sentence, SymbolTable, sentences
from lin_jax.text.sentences import PHRASE_PAUSE

# What goes through the network, or becomes sound, is padded to these or to twice, four times, … as
# much: few shapes are compiled.
SYMBOLS, SOURCE_SECONDS, FRAMES = 64, 2.0, 64
# What plays while the rest of a stream is made: up to the first comma, and that rest; or a part of
# so many letters.
FIRST_PHRASE = r"(\W*\w.{12,60}?[,;:–—])( .*\w.*)"
FIRST_LETTERS = 80
# What does not end by itself is cut after so long.
# Seconds, times the recording's, and seconds besides.
SLOWEST_SYMBOL, SLOWEST_SPEECH, ALWAYS = 0.25, 1.5, 1.0
SPEEDS = (0.5, 2.0)
MIN_PART = 0.5  # seconds of a part of a phrase that is said again in parts
REFERENCE_SECONDS = 120.0  # of a recording that a voice is cloned from
FADE = 0.005  # seconds
LOUDEST = 0.99  # peak, so that integers hold it
CUT = "did not come to an end and was cut"  # a problem of a sentence


@dataclasses.dataclass(frozen=True)
class SpeechSegment:
    """A sentence, or a phrase of a recording, in synthetic speech.

    Attributes:
        text: what is spoken; "" of a recording.
        start: seconds from the beginning.
        end: the same.
        problem: what is wrong with it, such as `CUT`; "" if it passed all checks.
        words: of a text each word as it is read, with the seconds at which it begins and ends;
            none where the network does not tell.
    """

    text: str
    start: float
    end: float
    problem: str = ""
    words: tuple[tuple[str, float, float], ...] = ()

    @property
    def stopped(self) -> bool:
        """Whether it ended by itself; if not it was cut."""
        return self.problem != CUT


@dataclasses.dataclass(frozen=True, eq=False)
class VoiceProfile:
    """A voice to speak in.

    Attributes:
        embedding: of the speaker bundle, moved to the anchor voices; float32 unit vector [E].
        ltas: mean level of each mel band while it speaks, in decibels, float32 [M]; None where the
            network needs none.
        ltas_correction: what the synthesizer lacks of that, likewise; see
            `Synthesis.ltas_correction`.
        adaptation: what a network by durations changes so as to speak as recordings of the voice
            do; see `lin_jax.tasks.adaptation`. None where it speaks by the embedding alone.
        adapted: fingerprint of the synthesizer whose network that is; "" without it.
    """

    embedding: np.ndarray
    ltas: np.ndarray | None = None
    ltas_correction: np.ndarray | None = None
    adaptation: Mapping[str, np.ndarray] | None = None
    adapted: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Speech:
    """Synthetic speech; it is made by `Speech.marked` and by nothing else.

    Attributes:
        samples: float32 [N] within ±1.
        sample_rate: in Hz.
        segments: what is spoken when.
        provenance: what it was made by; it stands in every file that is written.
    """

    samples: np.ndarray
    sample_rate: int
    segments: tuple[SpeechSegment, ...]
    provenance: str

    @classmethod
    def marked(cls, samples, sample_rate: int, segments, provenance: str) -> "Speech":
        """The one way out of a synthesizer: speech with the watermark of `lin_jax.audio.watermark`.

        Args:
            samples: what was generated [N], float; softened where it would be beyond full scale.
            sample_rate: see there.
            segments: likewise.
            provenance: likewise.
        """
        from lin_jax.audio import watermark

        samples = watermark.mark(samples, sample_rate)
        samples = samples / max(1.0, np.abs(samples).max(initial=0) / LOUDEST)
        return cls(samples.astype(np.float32), sample_rate, tuple(segments), provenance)

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.sample_rate

    def write(self, path):
        """Write an audio file, whole or not at all, whose metadata say that it is synthetic and by what.

        Where `lin_jax.audio.content_credentials` knows a certificate, they are signed, too.

        Args:
            path: where to; the suffix names the format.

        Raises:
            AudioError: the format cannot hold it, or cannot say so, the disk does not take it, or it
                cannot be signed.
        """
        from lin_jax.audio import content_credentials, files

        info = files.encoding(
            path, files.Info(self.sample_rate, 1, len(self.samples), "WAV", "PCM_16")
        )
        with files.writing(path, info, comment=f"synthetic speech, {self.provenance}") as file:
            file.write(self.samples[:, None])
        content_credentials.sign(path, self.provenance)


@dataclasses.dataclass(eq=False, repr=False)
class Synthesizer(Bundle):
    """A trained synthesizer with all it takes to use it; its network is a `Tacotron` of voices [B, E].

    Attributes:
        mean: of each feature over the training frames [M].
        std: its standard deviation [M].
        voices: of its training speakers, embedded by `encoder` and moved to the anchors [V, E].
        ltas: of the same, the mean frames [V, M].
        ltas_corrections: of the same, what the network lacks of that [V, M].
        names: of these speakers (V).
        sexes: of the same, "female", "male" or "" (V).
        table: the symbols of its texts.
        encoder: name or folder of the speaker bundle that embedded the voices.
        encoder_fingerprint: `Verifier.fingerprint` of that bundle; "" if it is not known.
        max_seconds: after which speech is stopped.
        source_mfcc: coefficients of a recording that is converted.
        sources: what it says: "text", "speech" or both.
        trained_seconds: length of the longest clip it learnt from.
        vocoder: name or folder of the vocoder bundle that makes the sound; "" leaves it to
            Griffin-Lim.
        repairer: name or folder of the repair bundle for recordings that a voice is cloned from.
        anchor_voices: names of the learnt voices in which it is understood: a cloned voice is moved
            towards the nearest ones.
        min_anchor_similarity: how far; see `lin_jax.tasks.synthesis.move_to_anchors`.
    """

    mean: np.ndarray
    std: np.ndarray
    voices: np.ndarray
    names: tuple[str, ...]
    sexes: tuple[str, ...]
    table: SymbolTable
    ltas: np.ndarray | None = None
    ltas_corrections: np.ndarray | None = None
    encoder: str = "speaker_encoder"
    encoder_fingerprint: str = ""
    max_seconds: float = 15.0
    source_mfcc: int = 20
    sources: tuple[str, ...] = ("text",)
    trained_seconds: float = 12.0
    vocoder: str = ""
    repairer: str = "repair"
    anchor_voices: tuple[str, ...] = ()
    min_anchor_similarity: float = 0.8

    task: ClassVar[str] = "synthesis"
    symbols_a_second: ClassVar[float] = 12.0
    arrays: ClassVar[tuple[str, ...]] = ("mean", "std", "voices")
    optional_arrays: ClassVar[tuple[str, ...]] = ("ltas", "ltas_corrections")
    rounded: ClassVar[tuple[str, ...]] = ("voices", "ltas", "ltas_corrections")
    parts: ClassVar[tuple[str, ...]] = ("encoder", "vocoder", "repairer")

    def settings(self) -> dict:
        """See `Bundle`."""
        return {
            "voices": [
                {"name": name, "sex": sex} for name, sex in zip(self.names, self.sexes, strict=True)
            ],
            "symbols": self.table.to_dict(),
            "encoder": {"bundle": self.encoder, "fingerprint": self.encoder_fingerprint},
            "sources": list(self.sources),
            "source_mfcc": self.source_mfcc,
            "max_seconds": self.max_seconds,
            "trained_seconds": self.trained_seconds,
            "vocoder": self.vocoder,
            "repairer": self.repairer,
            "anchor_voices": list(self.anchor_voices),
            "min_anchor_similarity": self.min_anchor_similarity,
        }

    @classmethod
    def from_settings(cls, settings: dict, **common) -> "Synthesizer":
        """See `Bundle`."""
        return cls(
            **common,
            **settings.get("flow", {}),
            names=tuple(voice["name"] for voice in settings["voices"]),
            sexes=tuple(voice["sex"] for voice in settings["voices"]),
            table=SymbolTable.from_dict(settings["symbols"]),
            encoder=settings["encoder"]["bundle"],
            encoder_fingerprint=settings["encoder"]["fingerprint"],
            sources=tuple(settings["sources"]),
            source_mfcc=settings["source_mfcc"],
            max_seconds=settings["max_seconds"],
            trained_seconds=settings["trained_seconds"],
            vocoder=settings["vocoder"],
            # Bundles from before it could be another one lack it.
            repairer=settings.get("repairer", cls.repairer),
            anchor_voices=tuple(settings["anchor_voices"]),
            min_anchor_similarity=settings["min_anchor_similarity"],
        )

    def functions(self) -> dict[str, Function]:
        """See `Bundle`."""

        def say(source, length, voice, ltas, ltas_correction):
            outputs = self._say(self._constants, source, length, voice, ltas, ltas_correction)
            names = "features", "num_frames", "stopped", "skipped", "repeated"
            return dict(zip(names, outputs, strict=True))

        def convert(waveform, length, **voice):
            return say(waveform, length, **voice)

        def speak(symbols, num_symbols, **voice):
            return say(symbols, num_symbols, **voice)

        M = self.frontend.num_features
        spectrum = "float32", f"b, {M}"
        voice = self._voice_inputs | {"ltas": spectrum, "ltas_correction": spectrum}
        symbols = {"symbols": ("int32", "b, l"), "num_symbols": ("int32", "b")}
        each = {"text": ("speak", speak, symbols), "speech": ("convert", convert, WAVEFORM)}
        kinds = (each[kind] for kind in self.sources)
        return {
            name: Function(
                call,
                inputs | voice,
                f"{'symbols' if name == 'speak' else 'waveforms'} in a voice of `voices.npz` to "
                f"`features` [b, {self._task(self._constants).max_frames}, {M}], log-mel frames in "
                "decibels of which `num_frames` [b] count; where not `stopped` [b], or where "
                "something is `skipped` or `repeated` [b], a sentence went wrong.",
            )
            for name, call, inputs in kinds
        } | {"vocode": self._vocode_function()}

    @property
    def _voice_inputs(self) -> dict[str, tuple[str, str]]:
        return {"voice": ("float32", f"b, {self.voices.shape[1]}")}

    def _vocode_function(self) -> Function:
        from lin_jax.audio.griffin_lim import mel_to_waveform

        if self._sound_maker:
            return self._sound_maker.functions()["vocode"]

        def vocode(features, num_frames):
            waveform, length = mel_to_waveform(self.frontend, features, num_frames)
            return {"waveform": waveform, "length": length}

        return vocode_function(vocode, self.frontend)

    @property
    def fitting_steps(self) -> int:
        """In which `clone_voice` fits the network to recordings; 0 where it does not."""
        return 0

    def clone_voice(
        self,
        sources,
        sample_rate: int | None = None,
        repair: bool = False,
        adapt: bool = True,
        progress: Callable[[int], None] = lambda steps: None,
    ) -> VoiceProfile:
        """A voice to speak in: one of the training, a saved one, or that of recordings.

        Args:
            sources: name of a learnt or saved voice, path of an audio file, waveform [N] or [N, channels],
                or a list of these, which are averaged. Of a recording the first `REFERENCE_SECONDS`
                are taken.
            sample_rate: of waveforms, in Hz.
            repair: whether recordings are restored by the repair bundle before.
            adapt: whether a network by durations is fitted to recordings, which takes seconds.
            progress: called with 1 for every one of the `fitting_steps` that is finished.

        Returns:
            The `VoiceProfile`.

        Raises:
            AudioError: a recording cannot be read, is silent or too short, or nobody speaks in it.
            BundleError: the speaker bundle is missing, or another one than that which embedded the
                learnt voices.
            ConfigError: a saved voice is damaged, or of another kind of bundle.
        """
        sources = sources if isinstance(sources, list | tuple) else [sources]
        if not sources:
            raise AudioError(
                "a voice of no recordings: give one at least, or the name of a learnt voice"
            )
        references = [self._reference(source, sample_rate, repair) for source in sources]
        profiles = [profile for profile, _ in references]
        if len(profiles) == 1 and references[0][1] is None:
            return profiles[0]
        total = np.sum([profile.embedding for profile in profiles], axis=0, dtype=np.float64)
        embedding = (total / np.linalg.norm(total)).astype(np.float32)
        if any(profile.ltas is None for profile in profiles):
            recordings = [recording for _, recording in references if recording]
            fit = adapt and len(recordings) == len(references)
            if fit and self.fitting_steps:
                return self._adapted(embedding, recordings, progress)
            return VoiceProfile(embedding)
        spectra = [(profile.ltas, profile.ltas_correction) for profile in profiles]
        return VoiceProfile(embedding, *np.mean(spectra, axis=0, dtype=np.float32))

    def speak(
        self,
        text: str,
        voice=None,
        speed: float = 1.0,
        progress: Callable[[float], None] = lambda sentences: None,
    ) -> Speech:
        """Say a text of any length, sentence by sentence.

        What cannot be read, and a sentence with a problem that saying it again did not mend, is
        named in a warning.

        Args:
            text: what to say.
            voice: a `VoiceProfile`, or whatever `Synthesizer.clone_voice` takes other than waveforms; None is
                the first learnt one.
            speed: 0.5 to 2; the pitch stays.
            progress: called with 1 for every sentence that is finished.

        Returns:
            The `Speech`.

        Raises:
            TextError: there is nothing in the text that can be spoken.
            AudioError: as for `clone_voice`, or it is silent.
            BundleError: as for `clone_voice`.
            ConfigError: another speed, or a bundle that reads no texts.
        """
        self._check("text", speed)
        voice, name = self._chosen(voice)
        readable = self._read(sentences(text, self.longest))
        sounds = self._sounds([_text_job(each) for _, each in readable], voice, speed, progress)
        gaps = [0.0, *(sentence.pause / speed for sentence, _ in readable[:-1]), 0.0]
        texts = [sentence.text for sentence, _ in readable]
        sounds = self._spelt(sounds, texts)
        speech = self._joined(sounds, gaps, texts, name)
        self._warn((piece.problem, repr(piece.text)) for piece in speech.segments)
        return speech

    def stream(self, text: str, voice=None, speed: float = 1.0) -> Iterator[Speech]:
        """Say a text sentence by sentence, each as soon as it is made, with the pause before it.

        A long first sentence is cut at its first comma, so that the first sound comes soon.

        Args:
            text: what to say.
            voice: as for `speak`.
            speed: 0.5 to 2.

        Returns:
            An iterator of the `Speech` of each part; what cannot be spoken at all is an error at
            once, as for `speak`.
        """
        self._check("text", speed)
        voice, name = self._chosen(voice)
        first, *others = sentences(text, self.longest)
        if phrase := re.match(FIRST_PHRASE, first.text):
            others.insert(0, Sentence(phrase[2].strip(), first.pause))
            first = Sentence(phrase[1], PHRASE_PAUSE)
        elif len(first.text) > FIRST_LETTERS:
            *parts, last = sentences(first.text, FIRST_LETTERS)
            first, *others = *parts, dataclasses.replace(last, pause=first.pause), *others
        return self._stream(self._read([first, *others]), voice, name, speed)

    def _stream(self, readable, voice, name: str, speed: float) -> Iterator[Speech]:
        gap = 0.0
        for sentence, symbols in readable:
            (sound,) = self._sounds([_text_job(symbols)], voice, speed, lambda sentences: None)
            (sound,) = self._spelt([sound], [sentence.text])
            self._warn([(sound.problem, repr(sentence.text))])
            yield self._joined([sound], [gap, 0.0], [sentence.text], name)
            gap = sentence.pause / speed

    def convert_voice(
        self,
        source,
        voice=None,
        sample_rate: int | None = None,
        speed: float = 1.0,
        progress: Callable[[float], None] = lambda seconds: None,
        text: str = "",
    ) -> Speech:
        """Speak what a recording says in another voice, phrase by phrase; its pauses stay.

        A phrase that did not come to an end, or was not spoken from its beginning to its end, is
        said again in parts; if these have problems, too, it is named in a warning.

        Args:
            source: path of an audio file, or a waveform [N] or [N, channels].
            voice: as for `speak`.
            sample_rate: of a waveform, in Hz; not used for a path.
            speed: as for `speak`.
            progress: called with the seconds of the recording that are finished.
            text: what the recording says; for a network by durations, and for no other.

        Returns:
            The `Speech`.

        Raises:
            TextError, ConfigError: as for `speak`.
            AudioError: likewise, or the recording cannot be read or is silent.
        """
        from lin_jax.audio import files
        from lin_jax.audio.segmentation import split_on_silence

        if text:
            raise ConfigError(f"{self.name}: converts without a text; leave it out")
        self._check("speech", speed)
        rate, given = self.frontend.sample_rate, self.rate(source, sample_rate)
        as_it_is = dataclasses.replace(self.frontend, trim_db=None, level="none")
        samples = files.load(source, as_it_is, sample_rate=given)
        voice, name = self._chosen(voice)
        phrases = split_on_silence(samples, rate, self.trained_seconds)
        spans = [(start, end) for start, end in phrases if end - start >= self.frontend.win_length]
        if not spans:
            raise AudioError(
                f"{source if is_path(source) else 'samples'}: nobody speaks in it; choose another"
            )
        jobs, before = [], 0
        for start, end in spans:
            phrase = files.load(samples[start:end], self.frontend, sample_rate=rate)
            done = (len(samples) if end == spans[-1][1] else end) - before
            jobs.append(_Job(phrase, ALWAYS + SLOWEST_SPEECH * len(phrase) / rate, done / rate))
            before += done
        sounds = self._sounds(jobs, voice, speed, progress)
        for number, (sound, job) in enumerate(zip(sounds, jobs, strict=True)):
            if sound.problem:
                sounds[number] = self._in_parts(job, voice, speed) or sound
        edges = [(0, 0), *spans, (len(samples), len(samples))]
        gaps = [
            (after[0] - before[1]) / rate / speed for before, after in itertools.pairwise(edges)
        ]
        speech = self._joined(sounds, gaps, [""] * len(spans), name)
        self._warn(
            (piece.problem, f"the phrase at {start / rate:.1f} s")
            for (start, _), piece in zip(spans, speech.segments, strict=True)
        )
        return speech

    def _in_parts(self, job: "_Job", voice, speed: float) -> "_Sound | None":
        """A phrase said in two or three parts; None if it cannot be cut, or they have problems."""
        from lin_jax.audio.segmentation import split_on_silence

        rate, phrase = self.frontend.sample_rate, job.source
        spans = split_on_silence(phrase, rate, len(phrase) / rate / 2)
        parts = [phrase[start:end] for start, end in spans]
        if min(map(len, parts)) < MIN_PART * rate or len(parts) < 2:
            return None
        jobs = [_Job(part, ALWAYS + SLOWEST_SPEECH * len(part) / rate, 0.0) for part in parts]
        sounds = self._sounds(jobs, voice, speed, lambda seconds: None)
        if any(sound.problem for sound in sounds):
            return None
        return _Sound(np.concatenate([sound.samples for sound in sounds]))

    @property
    def longest(self) -> int:
        """Symbols of a sentence at most, `trained_seconds` long; a longer one is spoken in parts."""
        return max(8, round(self.symbols_a_second * self.trained_seconds))

    def _check(self, source: str, speed: float):
        if source not in self.sources:
            raise ConfigError(
                f"{self.name}: speaks from {' and '.join(self.sources)} only; choose another bundle"
            )
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise ConfigError(
                f"speed {speed:g}: speech is stretched by little only; choose one from 0.5 to 2"
            )

    def _chosen(self, voice) -> tuple[VoiceProfile, str]:
        """What was given as a voice, and its name if it is a learnt one."""
        if isinstance(voice, VoiceProfile):
            return voice, ""
        voice = self.names[0] if voice is None else voice
        if not is_path(voice) and not isinstance(voice, list | tuple):
            raise ConfigError(
                f"a {type(voice).__name__} as voice: give a name, a path, or what Synthesizer.clone_voice returns"
            )
        return self.clone_voice(voice), voice if isinstance(
            voice, str
        ) and voice in self.names else ""

    def _adapted(self, embedding, recordings, progress) -> VoiceProfile:
        """The voice of an embedding [E], fitted to recordings of it in `fitting_steps`."""
        raise NotImplementedError

    def _reference(self, source, sample_rate, repair: bool):
        """The voice of one source; of a recording also its samples and their rate, else None."""
        from lin_jax.audio import files

        if isinstance(source, str) and source in self.names:
            return self._trained_profile(self.names.index(source)), None
        if isinstance(source, str) and source in saved_voices.names():
            kept = VoiceProfile(**saved_voices.load(source, self.encoder_fingerprint).fields)
            if self.ltas is not None and kept.ltas is None:
                raise ConfigError(
                    f"{source}: saved for another kind of bundle; save it again, for this one: "
                    f"lin voice save --model {self.name}"
                )
            return kept, None
        if is_path(source):
            name = str(source)
            try:
                samples, rate = files.read(source, duration=REFERENCE_SECONDS)
            except AudioError as error:
                if "no such file" not in str(error):
                    raise
                known = ", ".join(self.names[:8]) + (", …" if len(self.names) > 8 else "")
                raise AudioError(
                    f"{name}: no such file, nor a voice of this bundle ({known}); check it"
                ) from None
        else:
            name, rate = "samples", self.rate(source, sample_rate)
            samples = source[: round(REFERENCE_SECONDS * rate)]
        if repair:
            samples = self._repairer.repair(samples, rate)
        (voice,) = self._encoder.embed_all([samples], rate)
        if isinstance(voice, AudioError):
            raise AudioError(f"{name}: {str(voice).removeprefix('samples: ')}")
        if voice.speech < self._encoder.speech_threshold:
            raise AudioError(
                f"{name}: does not sound like speech; give a recording in which one person speaks"
            )
        if voice.embedding.shape != self.voices.shape[1:]:
            raise BundleError(
                f"{self.encoder}: embeds a voice as {len(voice.embedding)} numbers, not "
                f"{self.voices.shape[1]}; install the speaker bundle that the voices were learnt with"
            )
        return self._cloned_profile(voice.embedding, samples, rate), (samples, rate)

    def _trained_profile(self, number: int) -> VoiceProfile:
        """The voice of a speaker it learnt from."""
        return VoiceProfile(self.voices[number], self.ltas[number], self.ltas_corrections[number])

    def _cloned_profile(self, embedding, samples, rate: int) -> VoiceProfile:
        """The voice of a recording, by its embedding [E] and samples."""
        from lin_jax.audio import files
        from lin_jax.tasks.synthesis import move_to_anchors

        waveform = files.load(samples, self.frontend, sample_rate=rate)
        waveform = waveform[: round(self.trained_seconds * self.frontend.sample_rate)]
        unit = round(SOURCE_SECONDS * self.frontend.sample_rate)
        batch = padded([waveform], _size(len(waveform), unit))
        anchors = self.voices[np.isin(self.names, self.anchor_voices)]
        embedding = move_to_anchors(embedding[None], anchors, self.min_anchor_similarity)
        with self.weights_fit():
            spectra = self._spectra(self._constants, *batch, embedding)
        return VoiceProfile(
            embedding[0], *(np.asarray(spectra[name])[0] for name in ("ltas", "ltas_correction"))
        )

    def _read(self, parts: Sequence[Sentence]) -> list[tuple[Sentence, np.ndarray]]:
        """Sentences of at most `longest` symbols, and these [L]; an unreadable one is a warning."""
        readable, problems, most = [], [], self.longest
        waiting = list(reversed(parts))
        while waiting:
            sentence = waiting.pop()
            try:
                symbols = self.table.encode(sentence.text)
            except TextError as error:
                problems.append(error)
                continue
            if len(symbols) > most:  # what is written in figures is long, and is not cut within
                text = self.table.normalise(sentence.text)
                *shorter, last = sentences(text, max(1, len(text) * most // len(symbols)))
                if shorter:
                    last = dataclasses.replace(last, pause=sentence.pause)
                    waiting += reversed([*shorter, last])
                    continue
            readable.append((sentence, symbols))
        if not readable:
            raise problems[0]
        for problem in problems:
            warnings.warn(str(problem), stacklevel=3)
        return readable

    def _sounds(self, jobs: "list[_Job]", voice, speed, progress) -> "list[_Sound]":
        """What each job sounds like."""
        hop, rate = self.frontend.hop_length, self.frontend.sample_rate
        sounds = [None] * len(jobs)
        longest_first = sorted(range(len(jobs)), key=lambda i: -len(jobs[i].source))
        for start in range(0, len(jobs), BATCHES[-1]):
            chosen = longest_first[start : start + BATCHES[-1]]
            sources = [jobs[i].source for i in chosen]
            B = next(B for B in BATCHES if len(chosen) <= B)
            # What fills the batch must come to an end, too.
            sources += [sources[-1]] * (B - len(chosen))
            unit = SYMBOLS if sources[0].dtype == np.int32 else round(SOURCE_SECONDS * rate)
            batch = padded(sources, _size(len(sources[0]), unit))
            with self.weights_fit():
                voices = (
                    np.tile(np.float32(vector), (B, 1))
                    for vector in (voice.embedding, voice.ltas, voice.ltas_correction)
                )
                spoken = self._say(self._constants, *batch, *voices)
            for i, frames, count, *checks in zip(chosen, *map(np.asarray, spoken), strict=False):
                problem = _problem(*checks)
                if problem == CUT:
                    count = min(count, round(jobs[i].most_seconds * rate / hop))
                sounds[i] = _Sound(self._sound(frames[:count], speed), problem)
                progress(jobs[i].progress)
        return sounds

    def _sound(self, frames: np.ndarray, speed: float) -> np.ndarray:
        """The waveform [N] of frames [T, M]."""
        cancellation.check()
        T, stretched = len(frames), int(np.ceil(len(frames) / speed))
        frames = np.pad(frames, ((0, _num_frames(max(T, stretched)) - T), (0, 0)))
        constants = self._sound_maker and self._sound_maker.constants
        waveform, length = self._vocode(constants, frames, np.int32(T), np.float32(speed))
        return np.asarray(waveform)[:length]

    def _joined(self, sounds, gaps: Sequence[float], texts: Sequence[str], voice: str) -> Speech:
        """Sounds with gaps in seconds before, between and after them, at the level of the front end."""
        from lin_jax.audio import files

        rate, level = self.frontend.sample_rate, self.frontend.level
        ramp = np.arange(1, round(FADE * rate) + 1, dtype=np.float32) / round(FADE * rate)
        parts, pieces, end = [], [], 0
        for gap, sound, text in zip(gaps, sounds, texts, strict=False):
            faded = np.array(sound.samples)
            fade = min(len(ramp), len(faded))
            faded[:fade] *= ramp[:fade]
            faded[len(faded) - fade :] *= ramp[:fade][::-1]
            silence = np.zeros(round(gap * rate), np.float32)
            start = end + len(silence)
            end = start + len(faded)
            parts += [silence, faded]
            words = tuple(
                (word, start / rate + begins, start / rate + ends)
                for word, begins, ends in sound.words
            )
            pieces.append(SpeechSegment(text, start / rate, end / rate, sound.problem, words))
        if not any(np.any(sound.samples) for sound in sounds):
            raise AudioError(f"{self.name}: what it speaks is silent; choose another voice")
        samples = np.concatenate([*parts, np.zeros(round(gaps[-1] * rate), np.float32)])
        if level != "none":
            samples = files.level(samples, target_db=self.frontend.level_db, kind=level)
        voice = f"the voice {voice}" if voice else "a copied voice"
        provenance = f"made by lin_jax with the bundle {self.name} in {voice}"
        return Speech.marked(samples, rate, pieces, provenance)

    def _spelt(self, sounds: "Sequence[_Sound]", texts: Sequence[str]) -> "list[_Sound]":
        """Their words by letters; of words that are one in symbols each has its share of the time."""
        spelt = []
        for sound, text in zip(sounds, texts, strict=True):
            groups = self.table.words(text) if sound.words else []
            if len(groups) == len(sound.words):
                words = []
                for group, (_, start, end) in zip(groups, sound.words, strict=True):
                    shares = np.cumsum([0, *map(len, group)]) / len("".join(group))
                    times = (start + (end - start) * shares).tolist()
                    words += zip(group, times[:-1], times[1:], strict=True)
                sound = dataclasses.replace(sound, words=tuple(words))
            spelt.append(sound)
        return spelt

    @staticmethod
    def _warn(parts: Iterable[tuple[str, str]]):
        """Name the parts that have a problem."""
        for problem, part in parts:
            if problem:
                warnings.warn(f"{problem}: {part}", stacklevel=3)

    @functools.cached_property
    def _encoder(self):
        encoder: Any = self.load(self.encoder)
        if encoder.task != "verification":
            raise BundleError(
                f"{self.encoder}: a {encoder.task} bundle where a voice is to be embedded; use a speaker bundle"
            )
        if self.encoder_fingerprint and encoder.fingerprint != self.encoder_fingerprint:
            raise BundleError(
                f"{self.encoder}: not the speaker bundle that {self.name} was trained with; use the one with the "
                f"fingerprint {self.encoder_fingerprint}"
            )
        return encoder

    @functools.cached_property
    def _repairer(self):
        repairer: Any = self.load(self.repairer)
        if repairer.task != "repair":
            raise BundleError(
                f"{self.repairer}: a {repairer.task} bundle where recordings are to be repaired; "
                "use a repair bundle"
            )
        return repairer

    @functools.cached_property
    def _sound_maker(self):
        """The vocoder bundle; None if there is none."""
        return load_vocoder(self.vocoder, self.frontend)

    @functools.cached_property
    def _constants(self) -> Any:
        return on_device((self.variables, self.mean, self.std))

    @functools.cached_property
    def _spectra(self):
        import jax

        from lin_jax.audio.frontend import extract

        @jax.jit
        def ltas_correction(constants, source, length, voice):  # [B, N], [B], [B, E]
            frames, count = extract(self.frontend, source, length)
            batch = {"source": frames, "num_source_frames": count, "voice": voice}
            return self._task(constants).ltas_correction(constants[0], batch)

        return ltas_correction

    @functools.cached_property
    def _say(self):
        import jax
        import jax.numpy as jnp

        from lin_jax.audio.frontend import extract

        @jax.jit
        def say(
            constants, source, length, voice, ltas, ltas_correction
        ):  # [B, L] or [B, N], [B], [B, E], [B, M] twice
            batch = {"symbols": source, "num_symbols": length}
            if not jnp.issubdtype(source.dtype, jnp.integer):
                batch = dict(
                    zip(
                        ("source", "num_source_frames"),
                        extract(self.frontend, source, length),
                        strict=True,
                    )
                )
            batch |= {"voice": voice, "ltas": ltas, "ltas_correction": ltas_correction}
            outputs = self._task(constants).predict(constants[0], batch)
            names = "features", "num_frames", "stopped", "skipped", "repeated"
            return tuple(outputs[name] for name in names)  # [B, T, M], and [B] each

        return say

    def _task(self, constants):
        """Its training task, which is asked so that serving cannot drift from training."""
        from lin_jax.tasks.synthesis import Synthesis, SynthesisConfig

        _, mean, std = constants
        config = SynthesisConfig(max_seconds=self.max_seconds, source_mfcc=self.source_mfcc)
        return Synthesis(
            self.model, self.frontend, mean, std, self.voices.shape[1], self.sources, config
        )

    @functools.cached_property
    def _vocode(self):
        import jax

        from lin_jax.audio.augment import change_tempo
        from lin_jax.audio.griffin_lim import mel_to_waveform

        @jax.jit
        def vocode(constants, frames, num_frames, speed):  # _, [T, M], [], [] -> [N], []
            frames, num_frames = change_tempo(frames[None], num_frames[None], speed[None])
            if constants:
                waveform, length = self._sound_maker.vocode(constants, frames, num_frames)
            else:
                waveform, length = mel_to_waveform(self.frontend, frames, num_frames)
            return waveform[0], length[0]

        return vocode


def mean_weights(bundles: Sequence[Synthesizer]) -> Synthesizer:
    """The first of some bundles with the mean of their weights (Wortsman et al., "Model soups", 2022).

    Args:
        bundles: synthesizers by attention that were fine-tuned from the same one.

    Raises:
        ConfigError: a bundle of another kind, or with another network, frames, symbols or voices.
    """
    import jax

    def kind(bundle):
        scale = bundle.mean.tolist(), bundle.std.tolist()
        return bundle.model, bundle.frontend, bundle.table, bundle.encoder_fingerprint, scale

    first = bundles[0]
    for each in bundles:
        if type(each) is not Synthesizer:
            raise ConfigError(f"{each.name}: no synthesizer by attention; use conversion")
        if kind(each) != kind(first):
            raise ConfigError(
                f"{each.name}: another network, frames, symbols or voices than others"
            )
    weights = (each.variables for each in bundles)
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *weights)
    return dataclasses.replace(first, variables=mean)


@dataclasses.dataclass(frozen=True, eq=False)
class _Sound:
    """The waveform [N] of a job, its problem if it has one, and when its words are spoken in it."""

    samples: np.ndarray
    problem: str = ""
    words: tuple[tuple[str, float, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is spoken in one go.

    Attributes:
        source: symbols [L] int32, or samples [N] at the front end's rate and level.
        most_seconds: after which it is cut if it does not end.
        progress: what `progress` is called with when it is finished.
        text: of samples whose text is known, its symbols [L] int32 and the frames of each.
    """

    source: np.ndarray
    most_seconds: float
    progress: float
    text: tuple[np.ndarray, np.ndarray] | None = None


def load_vocoder(name_or_path, frontend) -> Vocoder | None:
    """The vocoder bundle of that name or folder, None for ""; BundleError unless it makes sound of such frames."""
    if not name_or_path:
        return None
    bundle = Bundle.load(name_or_path)
    if bundle.task != Vocoder.task or bundle.frontend != frontend:
        raise BundleError(
            f"{name_or_path}: no vocoder of such frames; choose one trained with the same front end"
        )
    return bundle


def _problem(stopped: bool, skipped: float, repeated: float) -> str:
    """What is wrong with speech of which attention tells this; "" if nothing."""
    if not stopped:
        return CUT
    if skipped:
        return "passes over a part of it"
    return "says a part of it twice" if repeated else ""


def _text_job(symbols: np.ndarray) -> _Job:
    """A sentence, as symbols [L]."""
    return _Job(symbols, ALWAYS + SLOWEST_SYMBOL * len(symbols), 1.0)


def _size(count: int, unit: int) -> int:
    """The first of `unit`, twice, four times, … as much that is no less than a count."""
    return unit * 2 ** max(0, int(np.ceil(np.log2(count / unit))))


def _num_frames(count: int) -> int:
    """The same for frames, which take the most time: with sizes half-way between."""
    return min(_size(count, FRAMES), _size(count, FRAMES * 3 // 4))
