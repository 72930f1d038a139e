"""A trained vocoder in use: mel frames become sound.

Shape letters: T frames, M mel bins, N samples.
"""

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from lin_jax.bundles.base import Bundle, Function, on_device


@dataclasses.dataclass(eq=False, repr=False)
class Vocoder(Bundle):
    """A trained vocoder with all it takes to use it.

    Its network is a `Vocos`, or a `SpectrumDecoder`, which leaves the phases to Griffin-Lim.

    Attributes:
        mean: of each feature over the training frames [M].
        std: its standard deviation [M].
        iterations: of Griffin-Lim; None where the network makes the phases.
    """

    mean: np.ndarray
    std: np.ndarray
    iterations: int | None = None

    task: ClassVar[str] = "vocoding"
    arrays: ClassVar[tuple[str, ...]] = ("mean", "std")

    def settings(self) -> dict:
        """See `Bundle`."""
        return {"iterations": self.iterations}

    @classmethod
    def from_settings(cls, settings: dict, **common) -> "Vocoder":
        """See `Bundle`."""
        return cls(**common, iterations=settings["iterations"])

    def functions(self) -> dict[str, Function]:
        """See `Bundle`."""

        def vocode(features, num_frames):
            waveform, length = self.vocode(self.constants, features, num_frames)
            return {"waveform": waveform, "length": length}

        return {"vocode": vocode_function(vocode, self.frontend)}

    @functools.cached_property
    def constants(self):
        """What `vocode` is given, so that it is no part of what is compiled; it is brought to the device once."""
        return on_device(({"params": {"vocoder": self.variables["params"]}}, self.mean, self.std))

    def vocode(self, constants, features, num_frames):
        """Waveforms of mel frames; pure, to be compiled by whoever calls it.

        Args:
            constants: see there.
            features: log-mel frames of `frontend` in decibels [B, T, M].
            num_frames: valid ones [B] int.

        Returns:
            waveform [B, N] with N = (T - 1) * hop_length, zero at and past length [B] int32.
        """
        from lin_jax.tasks.vocoding import Vocoding, VocodingConfig
        from lin_jax.tasks.waveform_vocoding import WaveformVocoding

        variables, mean, std = constants
        if self.iterations is None:
            task = WaveformVocoding(self.model, self.frontend, mean, std)
        else:
            config = VocodingConfig(iterations=self.iterations)
            task = Vocoding(self.model, self.frontend, mean, std, config=config)
        outputs = task.predict(variables, {"features": features, "num_frames": num_frames})
        return outputs["waveform"], outputs["length"]


def vocode_function(call, frontend) -> Function:
    """How whatever makes sound of mel frames is exported."""
    inputs = {
        "features": ("float32", f"b, t, {frontend.num_features}"),
        "num_frames": ("int32", "b"),
    }
    teach = (
        f"log-mel frames in decibels to `waveform` [b, {frontend.hop_length} (t - 1)], zero at and "
        "past `length` [b]."
    )
    return Function(call, inputs, teach)
