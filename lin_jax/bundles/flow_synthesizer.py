"""A synthesizer in use whose network speaks by durations: every symbol is spoken once, at a known time.

Shape letters: B sentences, L symbols, T frames, M mel bins, E embedding.
"""

import dataclasses
import functools
import itertools
from typing import ClassVar

import numpy as np

from lin_jax.bundles.base import BATCHES, padded
from lin_jax.bundles.synthesizer import (
    SYMBOLS,
    Synthesizer,
    VoiceProfile,
    _num_frames,
    _size,
    _Sound,
)
from lin_jax.text import END
from lin_jax.text.normalisation import PAUSES

TRIES = 3  # to draw frames in which nothing sounds wrong
PACES = 3, 33  # sounds a second, on average over a sentence
MAX_HOLD = 0.8  # seconds of one sound
MIN_LEVEL = -0.5  # of the loudest frame of a word, in deviations from the mean of all frames


@dataclasses.dataclass(eq=False, repr=False)
class FlowSynthesizer(Synthesizer):
    """A trained synthesizer whose network is an `AcousticModel`; it says texts.

    Attributes:
        steps: of the flow.
        temperature: deviation of the noise that it begins with.
        guidance: how far it goes beyond what text and voice ask for.
    """

    steps: int = 6
    temperature: float = 0.5
    guidance: float = 1.5

    network: ClassVar[str] = "AcousticModel"

    def settings(self) -> dict:
        """See `Bundle`."""
        flow = {name: getattr(self, name) for name in ("steps", "temperature", "guidance")}
        return super().settings() | {"flow": flow}

    def _trained_profile(self, number):
        return VoiceProfile(self.voices[number])

    def _cloned_profile(self, embedding, samples, rate):
        return VoiceProfile(embedding)

    def _sounds(self, jobs, voice, speed, progress):
        """What each job sounds like; the longest come first, so that batches are even."""
        space = self.table.encode_symbols(" ")  # for the silence before the first word
        sounds = [None] * len(jobs)
        order = sorted(range(len(jobs)), key=lambda i: -len(jobs[i].source))
        for group in _groups(order, BATCHES[-1]):
            sources = [np.concatenate([space, jobs[i].source]) for i in group]
            drawn = self._frames(sources, voice, speed)
            for i, source, (frames, durations, problem) in zip(group, sources, drawn, strict=True):
                words = [
                    (self.table.decode(source[first : last + 1]), start, end)
                    for first, last, start, end in self._words(source, durations)
                ]
                samples = self._sound(frames, 1.0)
                sounds[i] = _Sound(np.nan_to_num(samples), problem, tuple(words))
                progress(jobs[i].progress)
        return sounds

    def _frames(self, sources, voice, speed) -> list[tuple[np.ndarray, np.ndarray, str]]:
        """Mel frames [T, M] of symbols, durations of these [L], and what is wrong; in one batch.

        What sounds wrong is drawn again from other noise.
        """
        symbols, counts = padded(sources, _size(max(map(len, sources)), SYMBOLS))
        B = len(symbols)
        counts = np.where(np.arange(B) < len(sources), counts, 1).astype(np.int32)
        voices = np.tile(np.float32(voice.embedding), (B, 1))
        drawn: dict[int, tuple[np.ndarray, np.ndarray, str]] = {}
        with self.weights_fit():
            durations, encoded, voices = self._durations(
                self._constants, symbols, counts, voices, np.float32(speed)
            )
            durations = np.asarray(durations)
            T = _num_frames(int(durations.sum(axis=1).max()))
            for seed in range(TRIES):
                inputs = encoded, voices, durations, np.int32(seed)
                frames, num_frames = self._draw(self._constants, *inputs, max_frames=T)
                for b, source in enumerate(sources):
                    if b not in drawn or drawn[b][2]:
                        its_frames = np.asarray(frames[b, : int(num_frames[b])])
                        its_durations = durations[b, : len(source)]
                        problem = self._problem(source, its_frames, its_durations, speed)
                        drawn[b] = its_frames, its_durations, problem
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
    def _durations(self):
        import jax

        @jax.jit
        def predict(constants, symbols, num_symbols, voice, speed):
            method = "predict_durations"
            return self.model.apply(constants[0], symbols, num_symbols, voice, speed, method=method)

        return predict

    @functools.cached_property
    def _draw(self):
        import jax

        from lin_jax.tasks.acoustic import AcousticConfig, AcousticSynthesis

        config = AcousticConfig(
            steps=self.steps, temperature=self.temperature, guidance=self.guidance
        )

        @functools.partial(jax.jit, static_argnames="max_frames")
        def draw(constants, encoded, voice, durations, seed, *, max_frames):
            variables, mean, std = constants
            # Its training task is asked, so that serving cannot drift from training.
            size = self.voices.shape[1]
            task = AcousticSynthesis(self.model, self.frontend, mean, std, size, config)
            drawn = task.generate(variables, encoded, voice, durations, max_frames, seed)
            return drawn["features"], drawn["num_frames"]

        return draw


def _groups(items: list, size: int):
    """Consecutive groups of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))
