"""Bundles: trained models ready for use."""

from lin_jax.bundles.base import BATCHES, Bundle
from lin_jax.bundles.classifier import Classifier, Prediction, Segment
from lin_jax.bundles.folder import NETWORKS, PRETRAINED, card, load, load_vocoder, save, shipped
from lin_jax.bundles.repairer import Caution, Repaired, Repairer
from lin_jax.bundles.talker import Piece, Speech, Talker, TalkerVoice
from lin_jax.bundles.verifier import Verdict, Verifier, Voice
from lin_jax.bundles.vocoder import Vocoder

__all__ = [
    "BATCHES",
    "NETWORKS",
    "PRETRAINED",
    "Bundle",
    "Caution",
    "Classifier",
    "Piece",
    "Prediction",
    "Repaired",
    "Repairer",
    "Segment",
    "Speech",
    "Talker",
    "TalkerVoice",
    "Verdict",
    "Verifier",
    "Vocoder",
    "Voice",
    "card",
    "load",
    "load_vocoder",
    "save",
    "shipped",
]
