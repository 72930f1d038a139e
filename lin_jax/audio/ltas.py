"""The long-term average spectrum of a voice: measured in one recording, given to another.

Shape letters: T frames, M mel bins; `...` any leading batch axes.
"""

import jax.numpy as jnp

from lin_jax.shapes import check_shapes

SPEECH_DB = 40.0  # frames whose loudest band is within this of the recording's are speech
MIN_FRAMES = 60.0  # of so many, half the difference counts as the voice's, half as the text's
MAX_DB = 20.0  # by which a band is changed


def long_term_spectrum(log_mel, num_frames):
    """Mean of the frames in which somebody speaks.

    Args:
        log_mel: decibels [..., T, M].
        num_frames: valid frames of each clip [...] int, one at least. Padding changes nothing.

    Returns:
        Decibels [..., M], and the number of these frames [...].
    """
    loudest = jnp.where(
        jnp.arange(log_mel.shape[-2]) < jnp.asarray(num_frames)[..., None],
        log_mel.max(-1),
        -jnp.inf,
    )
    speech = loudest > loudest.max(-1, keepdims=True) - SPEECH_DB  # [..., T]
    return jnp.mean(log_mel, axis=-2, where=speech[..., None]), jnp.sum(speech, axis=-1)


def match_spectrum(log_mel, num_frames, spectrum):
    """Recordings filtered so that their long-term spectra come near to given ones.

    The filter is the same in all frames.

    The shorter a recording is, the less its mean tells of the voice, and the less it is changed.

    Args:
        log_mel: decibels [..., T, M].
        num_frames: valid frames of each clip [...] int.
        spectrum: long-term spectra to come near to [..., M], in decibels.

    Returns:
        Decibels [..., T, M].

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(
        log_mel=(log_mel, "... T M"), num_frames=(num_frames, "..."), spectrum=(spectrum, "... M")
    )
    measured, frames = long_term_spectrum(log_mel, num_frames)
    share = (frames / (frames + MIN_FRAMES))[..., None]
    return log_mel + jnp.clip(share * (spectrum - measured), -MAX_DB, MAX_DB)[..., None, :]
