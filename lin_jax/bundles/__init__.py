"""Bundles: trained models ready for use."""

from lin_jax.bundles.base import BATCHES, Bundle
from lin_jax.bundles.classifier import Classifier, Prediction, Segment
from lin_jax.bundles.folder import (
    PRETRAINED,
    describe,
    load,
    read_card,
    save,
    shipped,
)
from lin_jax.bundles.live_repairer import LiveRepairer, StreamRepairer
from lin_jax.bundles.repairer import AdaptiveMix, Repairer, RepairResult
from lin_jax.bundles.speaker_calibration import SpeakerCalibration
from lin_jax.bundles.synthesizer import (
    Speech,
    SpeechSegment,
    Synthesizer,
    VoiceProfile,
    load_vocoder,
)
from lin_jax.bundles.verifier import SpeakerEmbedding, Verdict, Verifier
from lin_jax.bundles.vocoder import Vocoder

__all__ = [
    "BATCHES",
    "PRETRAINED",
    "AdaptiveMix",
    "Bundle",
    "Classifier",
    "LiveRepairer",
    "Prediction",
    "RepairResult",
    "Repairer",
    "Segment",
    "SpeakerCalibration",
    "SpeakerEmbedding",
    "Speech",
    "SpeechSegment",
    "StreamRepairer",
    "Synthesizer",
    "Verdict",
    "Verifier",
    "Vocoder",
    "VoiceProfile",
    "describe",
    "load",
    "load_vocoder",
    "read_card",
    "save",
    "shipped",
]
