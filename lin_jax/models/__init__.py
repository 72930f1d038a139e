"""Flax networks, one file each."""

from lin_jax import lazy

__getattr__, __all__ = lazy.exports(
    __name__,
    {
        "acoustic": "AcousticModel Flow",
        "aligner": "Aligner",
        "autoencoder": "MelAutoencoder SpectralAutoencoder",
        "enhancer": "CausalEnhancer",
        "residual_classifier": "DenseResidualClassifier ResidualClassifier",
        "speaker_encoder": "FunctionalEncoder SmallSpeakerEncoder SpeakerEncoder",
        "tacotron": "Tacotron",
        "vocoder": "SpectrumDecoder SpectrumDiscriminator",
        "vocos": "Vocos",
        "waveform_discriminator": "WaveformDiscriminator",
    },
)
