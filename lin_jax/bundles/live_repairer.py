"""A repairer that hears nothing ahead: sound comes back repaired while it is still going on.

Shape letters: n samples, C channels.
"""

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from lin_jax.audio import files
from lin_jax.audio.chunking import Queue, zero_padded
from lin_jax.bundles import repairer
from lin_jax.bundles.repairer import Repairer
from lin_jax.errors import AudioError


@dataclasses.dataclass(eq=False, repr=False)
class LiveRepairer(Repairer):
    """A trained repairer whose network is a `CausalEnhancer`, which goes on from one hop to the next.

    The network hears recordings at the level that they have, since that of a stream is not known
    before its end.
    """

    network: ClassVar[str] = "CausalEnhancer"

    def stream(
        self, sample_rate: int, channels: int = 1, strength: float = 1.0
    ) -> "StreamRepairer":
        """Begin to repair a stream.

        Args:
            sample_rate: in Hz; at another than the network's, sound is brought to that and back,
                and what lies beyond its band is lost.
            channels: that the stream has, each of which is repaired for itself.
            strength: how much of the repair is mixed in, 0 to 1.

        Raises:
            AudioError: no sample rate of sound.
            ConfigError: a strength that cannot be.
        """
        return StreamRepairer(self, sample_rate, channels, strength)

    def scale(self, before) -> float:
        """See `Repairer`."""
        return 1.0

    @functools.cached_property
    def _step(self):
        import jax

        @jax.jit
        def step(variables, state, samples, strength):  # [C, hop] -> the same, of one hop before
            earlier = state["input"][:, -self.model.hop_length :]
            state, repaired = self.model.apply(variables, state, samples, method="step")
            return state, earlier + strength * (repaired - earlier)

        return step


class StreamRepairer:
    """Sound that is repaired while it comes in; `LiveRepairer.stream` begins one.

    What `push` and `flush` return is together as long as what came in, and lies where it lay.

    Attributes:
        latency_seconds: how long a sample waits for others before it is settled; at another rate
            than the network's it waits some milliseconds more.
    """

    def __init__(self, bundle: LiveRepairer, sample_rate: int, channels: int, strength: float):
        """Begin, and compile what is not compiled yet."""
        self._bundle, self._channels = bundle, channels
        self._rate, self._strength = files.check_rate(sample_rate), repairer.checked(strength)
        self.latency_seconds = bundle.model.latency_seconds
        self._hop = bundle.model.hop_length
        self._begin()
        with bundle.weights_fit():
            bundle._step(
                bundle._variables,
                self._state,
                np.zeros((channels, self._hop), np.float32),
                self._strength,
            )

    def push(self, samples) -> np.ndarray:
        """Take the next samples, and return those that are settled.

        Args:
            samples: any number of them, [n], or [n, C] where there are several channels; floats in
                ±1 or 16- or 32-bit integers.

        Returns:
            float32 [m] or [m, C].

        Raises:
            AudioError: it is no audio, of another number of channels, or holds NaN.
        """
        samples = files.check_type(samples)
        if samples[:1].size != self._channels and len(samples):
            raise AudioError(
                f"samples: {samples[:1].size} channels where the stream has {self._channels}; "
                "begin another"
            )
        blocks = files.blocks(samples, self._rate, block_seconds=repairer.BLOCK_SECONDS)
        parts = [self._settle(block, last=False) for block in blocks]
        return self._joined(parts)

    def flush(self) -> np.ndarray:
        """Return the rest, as of a stream that ended; the next `push` begins another."""
        rest = self._settle(np.zeros((0, self._channels), np.float32), last=True)
        self._begin()
        return self._joined([rest])

    def _begin(self):
        rate, channels = self._bundle.frontend.sample_rate, self._channels
        self._state = self._bundle.model.initial_state(channels)
        self._down = repairer.resampler(self._rate, rate, channels)
        self._up = repairer.resampler(rate, self._rate, channels)
        self._waiting, self._early = Queue(), self._hop
        self._taken = self._given = self._heard = 0

    def _settle(self, block, last: bool) -> np.ndarray:
        """What a block [n, C] settles, [m, C]."""
        self._taken += len(block)
        block = self._down(block, last)
        self._heard += len(block)
        if last:  # silence, up to what settles all
            missing = self._hop + -self._heard % self._hop
            block = np.concatenate([block, np.zeros((missing, self._channels), np.float32)])
        self._waiting.push(block)
        parts = [np.zeros((0, self._channels), np.float32)]
        while len(self._waiting) >= self._hop:
            self._state, repaired = self._bundle._step(
                self._bundle._variables,
                self._state,
                self._waiting.pop(self._hop).T,
                self._strength,
            )
            parts.append(np.asarray(repaired).T)
        settled = np.concatenate(parts)
        early = min(self._early, len(settled))  # of before the beginning
        self._early -= early
        settled = self._up(settled[early:], last)
        if last:
            left = self._taken - self._given
            settled = zero_padded(settled, left)[:left]
        self._given += len(settled)
        return settled

    def _joined(self, parts) -> np.ndarray:
        joined = np.concatenate([np.zeros((0, self._channels), np.float32), *parts])
        return joined[:, 0] if self._channels == 1 else joined
