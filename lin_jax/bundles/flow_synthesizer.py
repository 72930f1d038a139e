"""A synthesizer in use whose network speaks by durations: every symbol is spoken once, at a known time.

Shape letters: B sentences, L symbols, T frames, M mel bins, E embedding.
"""

import dataclasses
import functools
import itertools
import warnings
from typing import ClassVar

import numpy as np

from lin_jax import alignment
from lin_jax.audio.diagnosis import diagnose
from lin_jax.bundles.base import BATCHES, WAVEFORM, Function, on_device, padded, weights_digest
from lin_jax.bundles.synthesizer import (
    SOURCE_SECONDS,
    SYMBOLS,
    Synthesizer,
    VoiceProfile,
    _Job,
    _num_frames,
    _size,
    _Sound,
)
from lin_jax.errors import AudioError
from lin_jax.text import END, sentences
from lin_jax.text.normalisation import PAUSES

DRAWING = "steps", "temperature", "guidance", "sharpness"  # fields, of `AcousticConfig` as well
TRIES = 3  # to draw frames in which nothing sounds wrong
PACES = 3, 33  # sounds a second, on average over a sentence
MAX_HOLD = 0.8  # seconds of one sound
MAX_ALIGNED = 120.0  # seconds of a recording that is aligned with its text
ADAPTED_VOICES = 4  # whose networks are kept
FITTED_VOICES = 32  # that are found again where the same recordings come, 0.2 MB each
MIN_SNR_DB = 15.0  # of recordings that the network is fitted to
MIN_LEVEL = -0.5  # of the loudest frame of a word, in deviations from the mean of all frames


@dataclasses.dataclass(eq=False, repr=False)
class FlowSynthesizer(Synthesizer):
    """A trained synthesizer whose network is an `AcousticModel`.

    It says texts, and recordings whose text is known.

    Attributes:
        steps: of its flows.
        temperature: deviation of the noise that frames are drawn from.
        guidance: how far the frames go beyond what text and voice ask for.
        sharpness: how far the peaks of their spectra are raised.
        adaptation_steps: in which the network is fitted to recordings of a voice; 0 leaves it.
    """

    steps: int = 6
    temperature: float = 0.5
    guidance: float = 1.5
    sharpness: float = 0.3
    adaptation_steps: int = 30

    network: ClassVar[str] = "AcousticModel"
    symbols_a_second: ClassVar[float] = 17.0  # it speaks 20, and 126 fill what is compiled

    def settings(self) -> dict:
        """See `Bundle`."""
        flow = {name: getattr(self, name) for name in (*DRAWING, "adaptation_steps")}
        return super().settings() | {"flow": flow}

    def functions(self) -> dict[str, Function]:
        """See `Bundle`."""

        def predict_durations(symbols, num_symbols, voice, speed):
            outputs = self._durations(self._constants, symbols, num_symbols, voice, speed)
            return dict(zip(("durations", "encoded", "voice_features"), outputs, strict=True))

        def draw_frames(encoded, voice_features, durations, noise):
            variables, *_ = self._constants
            task = self._task(self._constants)
            return task.from_noise(variables, encoded, voice_features, durations, noise)

        def convert(waveform, length, voice, seed):
            features, num_frames = self._convert(self._constants, waveform, length, voice, seed)
            return {"features": features, "num_frames": num_frames}

        M, H = self.frontend.num_features, self.model.hidden
        symbols = {"symbols": ("int32", "b, l"), "num_symbols": ("int32", "b")}
        text = {
            "predict_durations": Function(
                predict_durations,
                symbols | self._voice_inputs | {"speed": ("float32", "")},
                "symbols, a space before the first word, in a voice of `voices.npz` to "
                "`durations` [b, l], frames of each symbol, and what `draw_frames` is given.",
            ),
            "draw_frames": Function(
                draw_frames,
                {
                    "encoded": ("float32", f"b, l, {H}"),
                    "voice_features": ("float32", f"b, {H}"),
                    "durations": ("int32", "b, l"),
                    "noise": ("float32", f"b, t, {M}"),
                },
                f"these, and standard normal noise of as many frames as the longest sentence has, "
                f"to `features` [b, t, {M}], log-mel frames in decibels, and `num_frames` [b].",
            ),
        }
        speech = {
            "convert": Function(
                convert,
                WAVEFORM | self._voice_inputs | {"seed": ("int32", "")},
                "what waveforms say, in a voice of `voices.npz`, from the noise of a seed, to "
                f"`features` [b, t, {M}], log-mel frames in decibels, and `num_frames` [b]; cut "
                "what is long at its pauses.",
            )
        }
        each = {"text": text, "speech": speech}
        functions = {name: each[source][name] for source in self.sources for name in each[source]}
        return functions | {"vocode": self._vocode_function()}

    def _task(self, constants):
        """Its training task, which is asked so that serving cannot drift from training."""
        from lin_jax.tasks.acoustic import AcousticConfig, AcousticSynthesis

        config = AcousticConfig(**{name: getattr(self, name) for name in DRAWING})
        size = self.voices.shape[1]
        return AcousticSynthesis(self.model, self.frontend, *constants[1:], size, config)

    def _trained_profile(self, number):
        return VoiceProfile(self.voices[number])

    def _cloned_profile(self, embedding, samples, rate):
        return VoiceProfile(embedding)

    @property
    def fitting_steps(self) -> int:
        """See `Synthesizer`; a network without an encoder of recordings cannot be fitted."""
        return self.adaptation_steps if self.model.content_dilations else 0

    def _adapted(self, embedding, recordings, progress):
        """See `Synthesizer`; what is noisy or narrow would be heard in all that is spoken."""
        clear = [each for each in recordings if _is_clear(*each)]
        if not clear:
            return VoiceProfile(embedding)
        key = weights_digest(self.fingerprint, (embedding, clear)).digest()
        voice = self._fitted_voices.pop(key, None) or self._fitted(embedding, clear, progress)
        self._fitted_voices[key] = voice
        if len(self._fitted_voices) > FITTED_VOICES:
            del self._fitted_voices[next(iter(self._fitted_voices))]
        return voice

    @functools.cached_property
    def _fitted_voices(self) -> dict[bytes, VoiceProfile]:
        """By the digest of their recordings, that which was asked for last at the end."""
        return {}

    def _fitted(self, embedding, recordings, progress) -> VoiceProfile:
        from lin_jax.audio import files

        waveforms = [
            files.load(samples, self.frontend, sample_rate=given) for samples, given in recordings
        ]
        with self.weights_fit():
            recordings = [self._features(each) for each in waveforms]
            pitches = [self._pitch(each) for each in waveforms]
            given = self._constants[0], recordings, pitches, embedding, progress
            adaptation = self._adaptation.fit(*given)
        return VoiceProfile(embedding, adaptation=adaptation, adapted=self.fingerprint)

    def _features(self, waveform) -> np.ndarray:
        """Frames [T, M] of samples [N]."""
        frames, num_frames = self._extract(*self._sized(waveform))
        return np.asarray(frames[0, : int(num_frames[0])])

    def _pitch(self, waveform) -> np.ndarray:
        """Of each of these frames [T], in octaves above 100 Hz, NaN where none is voiced."""
        samples, _ = self._sized(waveform)
        return np.asarray(self._track(samples)[0, : self.frontend.num_frames(len(waveform))])

    def _sized(self, waveform):
        """Samples [1, N] and their number [1], which few compiled lengths hold."""
        size = round(SOURCE_SECONDS * self.frontend.sample_rate)
        return padded([waveform], _size(len(waveform), size))

    @functools.cached_property
    def _extract(self):
        import jax

        from lin_jax.audio.frontend import extract

        return jax.jit(functools.partial(extract, self.frontend))

    @functools.cached_property
    def _track(self):
        import jax

        return jax.jit(functools.partial(_pitch_track, self.frontend))

    @functools.cached_property
    def _adaptation(self):
        from lin_jax.tasks.adaptation import Adaptation

        return Adaptation(self._task((None, self.mean, self.std)), self.adaptation_steps)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that only a bundle with the same network has."""
        weights = self.variables, self.mean, self.std
        return weights_digest(self.frontend.fingerprint(), weights).hexdigest()[:12]

    def _chosen(self, voice):
        """See `Synthesizer`; what was fitted to another network is left out, with a warning."""
        profile, name = super()._chosen(voice)
        if profile.adaptation is not None and profile.adapted != self.fingerprint:
            warnings.warn(
                "this voice was saved with another synthesizer and is spoken by its embedding "
                "alone; save it again",
                stacklevel=3,
            )
            profile = VoiceProfile(profile.embedding)
        return profile, name

    def _constants_of(self, voice):
        """What the network computes with when it speaks in a voice."""
        return self._constants if voice.adaptation is None else self._adapted_constants(voice)

    @functools.cached_property
    def _adapted_constants(self):
        from lin_jax.tasks.adaptation import adapted

        @functools.lru_cache(ADAPTED_VOICES)
        def constants(voice):
            variables, *others = self._constants
            return on_device(adapted(variables, voice.adaptation)), *others

        return constants

    def convert_voice(
        self,
        source,
        voice=None,
        sample_rate=None,
        speed=1.0,
        progress=lambda seconds: None,
        text="",
    ):
        """Speak what a recording says in another voice, with its timing.

        Arguments and errors are those of `Synthesizer.convert_voice`. With its text its words are
        certain; then TextError if the text is longer than what the recording can say, and of a
        recording `MAX_ALIGNED` seconds at most.
        """
        from lin_jax.audio import files

        if not text:
            return super().convert_voice(source, voice, sample_rate, speed, progress)
        self._check("text", speed)
        rate, given = self.frontend.sample_rate, self.rate(source, sample_rate)
        samples = files.load(source, self.frontend, sample_rate=given)
        if len(samples) > MAX_ALIGNED * rate:
            raise AudioError(
                f"{len(samples) / rate:.0f} s are too long for a text at once; "
                f"cut it in parts of {MAX_ALIGNED:.0f} s at most, each with its text"
            )
        voice, name = self._chosen(voice)
        readable = self._read(sentences(text, self.longest))
        sources = [self._framed(symbols) for _, symbols in readable]
        frames = self._features(samples)
        jobs, start, hop = [], 0, self.frontend.hop_length
        for symbols, counts in zip(sources, self.align(frames, sources), strict=True):
            end = start + counts.sum() * hop
            seconds = (end - start) / rate
            # One sample less, since a frame stands at either end.
            jobs.append(_Job(samples[start : end - 1], seconds, seconds, (symbols, counts)))
            start = end
        texts = [sentence.text for sentence, _ in readable]
        sounds = self._spelt(self._sounds(jobs, voice, speed, progress), texts)
        speech = self._joined(sounds, np.zeros(len(sounds) + 1), texts, name)
        self._warn((piece.problem, repr(piece.text)) for piece in speech.segments)
        return speech

    def align(self, frames, sources) -> list[np.ndarray]:
        """How long each symbol of some sentences is held in a recording of them.

        The encoder of recordings says how likely each frame is each symbol; the frames are shared
        out among the symbols, in their order, as is likeliest.

        Args:
            frames: of the recording, in decibels [T, M].
            sources: symbols of each sentence, int [L], a space before the first word.

        Returns:
            Of each sentence the frames of its symbols, int [L], one at least; T all together.

        Raises:
            TextError: more symbols than frames.
            ConfigError: the bundle has no encoder of recordings.
        """
        self._check("speech", 1.0)
        T = len(frames)
        padding = _num_frames(T) - T
        normalised = np.pad((frames - self.mean) / self.std, ((0, padding), (0, 0)))
        with self.weights_fit():
            likely = self._recognise(self._constants, np.float32(normalised[None]), np.int32([T]))
        counts = alignment.durations(np.asarray(likely)[0, :T, np.concatenate(sources)].T)
        return np.split(counts, np.cumsum([len(symbols) for symbols in sources])[:-1])

    def _sounds(self, jobs, voice, speed, progress):
        """What each job sounds like; the longest come first, so that batches are even."""
        sounds = [None] * len(jobs)
        order = sorted(range(len(jobs)), key=lambda i: -len(jobs[i].source))
        recorded = bool(jobs) and jobs[0].source.dtype.kind == "f"
        for group in _groups(order, BATCHES[-1]):
            chosen = [jobs[i] for i in group]
            # What is converted is as fast as it is recorded, until it is sound.
            stretch = speed if recorded else 1.0
            drawn = self._converted(chosen, voice) if recorded else self._said(chosen, voice, speed)
            for i, (frames, text, problem) in zip(group, drawn, strict=True):
                words = [
                    (self.table.decode(text[0][first : last + 1]), start / stretch, end / stretch)
                    for first, last, start, end in (self._words(*text) if text else ())
                ]
                samples = np.nan_to_num(self._sound(frames, stretch))
                sounds[i] = _Sound(samples, problem, tuple(words))
                progress(jobs[i].progress)
        return sounds

    def _converted(self, jobs, voice) -> list[tuple]:
        """Mel frames [T, M] that say what samples [N] say, their text and what is wrong; in one batch."""
        hop, phrases = self.frontend.hop_length, [job.source for job in jobs]
        T = _num_frames(max(self.frontend.num_frames(len(phrase)) for phrase in phrases))
        waveform, length = padded(phrases, T * hop - 1)
        B = len(waveform)
        length = np.where(np.arange(B) < len(phrases), length, 0).astype(np.int32)
        voices = np.tile(np.float32(voice.embedding), (B, 1))
        texts = [job.text for job in jobs]
        batch = None
        if texts[0]:
            sources, counts = zip(*texts, strict=True)
            L = _size(max(map(len, sources)), SYMBOLS)
            symbols, num_symbols = padded(list(sources), L)
            batch = symbols, num_symbols, padded(list(counts), L)[0].astype(np.int32)
        with self.weights_fit():
            given = self._constants_of(voice), waveform, length, voices
            return self._checked(lambda seed: self._convert(*given, seed, batch), texts, 1.0)

    def _said(self, jobs, voice, speed) -> list[tuple]:
        """The same of symbols, with the frames of each of them."""
        sources = [self._framed(job.source) for job in jobs]
        symbols, counts = padded(sources, _size(max(map(len, sources)), SYMBOLS))
        B = len(symbols)
        counts = np.where(np.arange(B) < len(jobs), counts, 1).astype(np.int32)
        voices = np.tile(np.float32(voice.embedding), (B, 1))
        with self.weights_fit():
            given = self._constants, symbols, counts, voices, np.float32(speed)
            durations, *read = self._durations(*given)
            held = np.asarray(durations)
            T = _num_frames(int(held.sum(axis=1).max()))
            given = self._constants_of(voice), *read, durations
            texts = [(source, held[b, : len(source)]) for b, source in enumerate(sources)]
            return self._checked(lambda seed: self._draw(*given, seed, max_frames=T), texts, speed)

    def _checked(self, draw, texts, speed: float) -> list[tuple]:
        """Frames [T, M] of each of a batch, its text and what is wrong with them, "" if nothing.

        What sounds wrong is drawn again from other noise.

        Args:
            draw: of a seed the frames [B, T, M], and how many are real [B].
            texts: of each its symbols [L] and the frames of each of them; None if it is not known.
            speed: at which they are.
        """
        drawn: dict[int, tuple] = {}
        for seed in range(TRIES):
            frames, num_frames = draw(np.int32(seed))
            for b, text in enumerate(texts):
                if b not in drawn or drawn[b][2]:
                    its_frames = np.asarray(frames[b, : int(num_frames[b])])
                    problem = ""
                    if text:
                        symbols, durations = text
                        problem = self._problem(symbols, its_frames, durations, speed)
                    drawn[b] = its_frames, text, problem
            if not any(problem for *_, problem in drawn.values()):
                break
        return list(drawn.values())

    def _problem(self, symbols, frames, durations, speed: float) -> str:
        """What is wrong with mel frames [T, M] of symbols [L] with durations [L]; "" if nothing."""
        hop = self.frontend.hop_length / self.frontend.sample_rate
        if not np.isfinite(frames).all():
            return "is broken: its frames are no numbers"
        spoken = self._spoken(symbols)
        pace = 1 / (speed * hop * durations[spoken].mean())
        if not PACES[0] <= pace <= PACES[1]:
            return (
                f"is spoken at {pace:.0f} sounds a second, where {PACES[0]} to {PACES[1]} are usual"
            )
        longest = durations[spoken].max() * hop
        if longest > MAX_HOLD / speed:
            return f"holds a sound for {longest:.1f} s"
        level = ((frames - self.mean) / self.std).mean(axis=1)
        for first, last, start, end in self._words(symbols, durations):
            if level[round(start / hop) : round(end / hop)].max() < MIN_LEVEL:
                word = self.table.decode(symbols[first : last + 1])
                return f"is silent at {word!r}"
        return ""

    def _framed(self, symbols) -> np.ndarray:
        """Symbols of a sentence as it is learnt from: silence before its first word, a mark last.

        Without one the last word has no end, nor silence after it.
        """
        table, (*body, end) = self.table, symbols
        mark = "" if set(body[-1:]) & set(table.encode_symbols(PAUSES)) else "."
        parts = table.encode_symbols(" "), body, table.encode_symbols(mark), [end]
        return np.concatenate(parts).astype(np.int32)

    def _spoken(self, symbols) -> np.ndarray:
        """Which symbols are sounds, and neither pauses nor between words [L]."""
        silent = {int(number) for number in self.table.encode_symbols(f" {PAUSES}")} | {END}
        return ~np.isin(symbols, list(silent))

    def _words(self, symbols, durations) -> list[tuple[int, int, float, float]]:
        """Of each word its first and its last symbol, and the seconds at which it begins and ends."""
        ends = np.cumsum(durations) * self.frontend.hop_length / self.frontend.sample_rate
        starts = np.concatenate([[0.0], ends[:-1]])
        words = []
        spoken = enumerate(self._spoken(symbols))
        for is_word, run in itertools.groupby(spoken, key=lambda item: item[1]):
            places = [place for place, _ in run]
            if is_word:
                first, last = places[0], places[-1]
                words.append((first, last, float(starts[first]), float(ends[last])))
        return words

    @functools.cached_property
    def _recognise(self):
        import jax

        @jax.jit
        def recognise(constants, frames, num_frames):  # -> [B, T, V]
            *_, logits = self.model.apply(constants[0], frames, num_frames, method="recognise")
            return jax.nn.log_softmax(logits)

        return recognise

    @functools.cached_property
    def _durations(self):
        import jax

        @jax.jit
        def predict(constants, symbols, num_symbols, voice, speed):
            given = symbols, num_symbols, voice, speed
            how = {"steps": self.steps, "method": "predict_durations"}
            return self.model.apply(constants[0], *given, **how)

        return predict

    @functools.cached_property
    def _draw(self):
        import jax

        @functools.partial(jax.jit, static_argnames="max_frames")
        def draw(constants, encoded, voice, durations, seed, *, max_frames):
            task = self._task(constants)
            drawn = task.generate(constants[0], encoded, voice, durations, max_frames, seed)
            return drawn["features"], drawn["num_frames"]

        return draw

    @functools.cached_property
    def _convert(self):
        import jax

        from lin_jax.audio.frontend import extract

        @jax.jit
        def convert(constants, waveform, length, voice, seed, text=None):
            frames, num_frames = extract(self.frontend, waveform, length)
            pitch = _pitch_track(self.frontend, waveform)[:, : frames.shape[1]]
            given = frames, num_frames, voice, pitch, seed, text
            drawn = self._task(constants).convert(constants[0], *given)
            return drawn["features"], num_frames

        return convert


def _pitch_track(frontend, waveform):
    """The pitch of the frames of waveforms [B, T], without what lies outside the range of a voice."""
    from lin_jax.audio.functionals import voiced_pitch, within_range

    return within_range(voiced_pitch(waveform, frontend.sample_rate, frontend.hop_length))


def _is_clear(samples, rate: int) -> bool:
    """Whether a recording has little noise and all frequencies of speech."""
    diagnosis = diagnose([samples], rate)
    return diagnosis.snr_db >= MIN_SNR_DB and not diagnosis.narrow


def _groups(items: list, size: int):
    """Consecutive groups of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))
