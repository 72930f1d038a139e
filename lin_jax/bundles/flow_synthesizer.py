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

    def _learnt_profile(self, number):
        return VoiceProfile(self.voices[number])

    def _cloned_profile(self, embedding, samples, rate):
        return VoiceProfile(embedding)

    def _sounds(self, jobs, voice, speed, progress):
        """What each job sounds like; the longest come first, so that batches are even."""
        seconds_a_frame = self.frontend.hop_length / self.frontend.sample_rate
        space = self.table.encode_symbols(" ")  # for the silence before the first word
        sounds = [None] * len(jobs)
        order = sorted(range(len(jobs)), key=lambda i: -len(jobs[i].source))
        for group in _groups(order, BATCHES[-1]):
            sources = [np.concatenate([space, jobs[i].source]) for i in group]
            symbols, counts = padded(sources, _size(max(map(len, sources)), SYMBOLS))
            B = len(symbols)
            counts = np.where(np.arange(B) < len(group), counts, 1).astype(np.int32)
            voices = np.tile(np.float32(voice.embedding), (B, 1))
            with self.weights_fit():
                durations, encoded, voices = self._durations(
                    self._constants, symbols, counts, voices, np.float32(speed)
                )
                durations = np.asarray(durations)
                T = _num_frames(int(durations.sum(axis=1).max()))
                frames, num_frames = self._draw(
                    self._constants, encoded, voices, durations, max_frames=T
                )
            for b, i in enumerate(group):
                made = np.asarray(frames[b, : int(num_frames[b])])
                words = self._words(sources[b], durations[b], seconds_a_frame)
                sounds[i] = _Sound(self._sound(made, 1.0), True, words)
                progress(jobs[i].progress)
        return sounds

    def _words(self, symbols, durations, seconds_a_frame: float):
        """Each word as it is spelt, with the seconds at which it begins and ends."""
        silent = {int(number) for number in self.table.encode_symbols(f" {PAUSES}")} | {END}
        ends = np.cumsum(durations[: len(symbols)]) * seconds_a_frame
        starts = ends - durations[: len(symbols)] * seconds_a_frame
        words = []
        spoken = ((int(symbol) not in silent, place) for place, symbol in enumerate(symbols))
        for is_word, run in itertools.groupby(spoken, key=lambda item: item[0]):
            places = [place for _, place in run]
            if is_word:
                word = self.table.decode(symbols[places])
                words.append((word, float(starts[places[0]]), float(ends[places[-1]])))
        return tuple(words)

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
        def draw(constants, encoded, voice, durations, *, max_frames):
            variables, mean, std = constants
            # Its training task is asked, so that serving cannot drift from training.
            size = self.voices.shape[1]
            task = AcousticSynthesis(self.model, self.frontend, mean, std, size, config)
            drawn = task.generate(variables, encoded, voice, durations, max_frames)
            return drawn["features"], drawn["num_frames"]

        return draw


def _groups(items: list, size: int):
    """Consecutive groups of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))
