"""Under which recordings are tried: as they are, in noise, by telephone, whispered.

Shape letters: N samples.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from lin_jax.audio import files, mixing
from lin_jax.audio.whisper import whisper

Condition = Callable[[np.ndarray, int, np.ndarray | None], tuple[np.ndarray, int]]


@dataclasses.dataclass
class ConditionsConfig:
    """Conditions besides the recordings as they are.

    Attributes:
        snrs: of noise that is added, in dB.
        telephone: whether clips are also limited to the band of a telephone, at 8 kHz.
        whisper: whether they are also tried as if whispered, see `audio.whisper`.
        noise: folder of recordings of noise that nothing was trained on; "" takes held-out clips of
            the class "no speech", if there are any.
    """

    snrs: tuple[float, ...] = ()
    telephone: bool = False
    whisper: bool = False
    noise: str = ""

    def conditions(self) -> dict[str, Condition]:
        """Functions of a clip's samples, their rate, and noise as long; by name, "clean" first."""

        def in_noise(snr):
            return lambda samples, rate, noise: (mixing.add_noise(samples, noise, snr), rate)

        result: dict[str, Condition] = {"clean": lambda samples, rate, noise: (samples, rate)}
        result |= {f"noise {snr:g} dB": in_noise(snr) for snr in self.snrs}
        if self.telephone:
            result["telephone"] = lambda samples, rate, noise: mixing.telephone(samples, rate)
        if self.whisper:
            result["whisper"] = lambda samples, rate, noise: (whisper(samples, rate), rate)
        return result

    def noises(self) -> list[str]:
        """Paths of the recordings in the folder, none without a folder or where none is added.

        Raises:
            AudioError: no such folder, or no recordings in it.
        """
        return list(map(str, files.find(self.noise))) if self.noise and self.snrs else []


class NoiseReader:
    """Draws recordings of noise, the same ones every time.

    Args:
        paths: of the recordings; without any every draw is None.
        sample_rate: at which they are read, in Hz.
    """

    def __init__(self, paths: Sequence[str], sample_rate: int):
        self._paths, self._rate = list(paths), sample_rate
        self._rng = np.random.default_rng(0)

    def draw(self) -> np.ndarray | None:
        """Samples [N] of the next recording."""
        if not self._paths:
            return None
        return files.read(self._paths[self._rng.integers(len(self._paths))], self._rate)[0]
