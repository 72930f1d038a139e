"""Audio files, the front end from waveforms to features and back, and what disturbs speech.

The functions below are the ones to borrow; `lin_jax.audio.pmsqe`, `stoi`, `griffin_lim` and
`functionals` are modules that have a function of their name.
"""

from lin_jax import lazy

__getattr__, __all__ = lazy.exports(
    __name__,
    {
        "augment": "AugmentConfig augment_features augment_waveform change_speed shift_pitch",
        "chunking": "Crossfader Overlap zero_padded",
        "degrade": "DegradeConfig NoisePool RoomPool",
        "diagnosis": "Diagnosis Meter",
        "files": "load read resample trim_silence write",
        "frontend": "deltas extract istft mel_filter_bank mel_spectrogram mfcc power_to_db stft",
        "frontend_config": "FrontendConfig",
        "griffin_lim": "mel_to_waveform",
        "ltas": "long_term_spectrum match_spectrum",
        "mixing": "babble coloured_noise convolve limit_band mix narrowband telephone",
        "segmentation": "split_on_silence",
    },
)
