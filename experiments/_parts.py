"""A synthesizer and what it takes voices from recordings by: the parts of the joint experiment."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from experiments import _fine_tuning
from lin_jax import bundles
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.errors import ConfigError
from lin_jax.tasks.acoustic import AcousticSynthesis
from lin_jax.tasks.joint import JointCloning, JointConfig
from lin_jax.tasks.repair import Repair
from lin_jax.tasks.verification import Verification, VerificationConfig


@dataclasses.dataclass(frozen=True)
class Parts:
    """The bundles of a synthesizer; in the words of `tasks.joint`, of "repair", "encoder" and "acoustic"."""

    repairer: bundles.Repairer
    encoder: bundles.Verifier
    synthesizer: FlowSynthesizer

    @classmethod
    def of(cls, synthesizer: bundles.Bundle) -> "Parts":
        """Those that a bundle names.

        Raises:
            ConfigError: not a synthesizer by durations, or its encoder is fused with another.
        """
        if not isinstance(synthesizer, FlowSynthesizer):
            raise ConfigError(f"{synthesizer.name}: no synthesizer by durations; use synthesis")
        parts = cls(*map(bundles.load, (synthesizer.repairer, synthesizer.encoder)), synthesizer)
        if parts.encoder.fused:
            raise ConfigError(f"{synthesizer.encoder}: fused with another; use one that is not")
        return parts

    @property
    def frontend(self):
        """By which references are prepared."""
        return self.encoder.frontend

    @property
    def name(self) -> str:
        """Of the synthesizer."""
        return self.synthesizer.name

    def task(self, config: JointConfig, **damage) -> JointCloning:
        """The parts as one task; `damage` is that of `Repair`."""
        network, encoder, speaker = self.repairer.model, self.encoder, self.synthesizer
        if hasattr(network, "shifts"):  # by the same parameters
            network = network.clone(shifts=1)
        speeds = VerificationConfig(speeds=encoder.speeds)
        scale, size = (speaker.mean, speaker.std), speaker.voices.shape[1]
        return JointCloning(
            Repair(network, encoder.frontend.sample_rate, **damage),
            Verification(encoder.model, 0, encoder.frontend, encoder.mean, encoder.std, speeds),
            AcousticSynthesis(speaker.model, speaker.frontend, *scale, size),
            {
                "repair": self.repairer.variables,
                "encoder": encoder.variables,
                "acoustic": speaker.variables,
            },
            config,
        )

    def trained(self, variables: Mapping[str, dict]) -> "Parts":
        """The parts with the new variables of some; a repair that was trained changes all it can."""
        repairer, encoder, synthesizer = self.repairer, self.encoder, self.synthesizer
        if new := variables.get("repair"):
            repairer = dataclasses.replace(repairer, variables=new, adaptive_mix=None)
        if new := variables.get("encoder"):
            encoder = dataclasses.replace(encoder, variables=new)
        if new := variables.get("acoustic"):
            synthesizer = dataclasses.replace(synthesizer, variables=new)
        return Parts(repairer, encoder, synthesizer)

    def save(
        self, folder: pathlib.Path, start: "Parts", name: str, corpora: Sequence[dict]
    ) -> FlowSynthesizer:
        """Write repair and encoder where they differ from those of the start.

        Args:
            folder: where to, as `repair` and `speaker_encoder`.
            start: what was trained on.
            name: of the synthesizer.
            corpora: see `lin_jax.bundles.card`.

        Returns:
            The synthesizer, which names them.
        """
        changed: dict = {"name": name}
        for field, part in (("repairer", "repair"), ("encoder", "speaker_encoder")):
            bundle = getattr(self, field)
            if bundle is getattr(start, field):
                continue
            provenance = {
                "summary": f"For recordings in noise that the voices of `{name}` are taken from.",
                "corpora": list(corpora),
                "parents": _fine_tuning.parents(getattr(start.synthesizer, field)),
            }
            saved = bundles.save(folder / part, bundle, provenance=provenance, dtype="float16")
            changed[field] = str(saved)
        if "encoder" in changed:
            changed["encoder_fingerprint"] = bundles.load(changed["encoder"]).fingerprint
        return dataclasses.replace(self.synthesizer, **changed)
