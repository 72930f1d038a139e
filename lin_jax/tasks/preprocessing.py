"""From a batch of waveforms or features to the input of a network: what all tasks on clips share.

Shapes: B batch, N samples, T frames, D features.
"""

import jax
import jax.numpy as jnp

from lin_jax.audio import augment as augmentation
from lin_jax.audio import frontend as front_end
from lin_jax.models.layers import frame_mask


def preprocess(
    frontend: front_end.FrontendConfig,
    mean,
    std,
    batch,
    augment: augmentation.AugmentConfig,
    key=None,
):
    """Normalised features of a batch, augmented where a key is given.

    Args:
        frontend: how a waveform becomes features.
        mean: of each feature over the training frames [D].
        std: its standard deviation [D].
        batch: either "features" [B, T, D] and "num_frames" [B], or "waveform" [B, N] and "length"
            [B], from which the same features are made. With waveforms, "is_background" [B] bool may
            say which may be put behind others.
        augment: what is done to training clips; the waveform part needs waveforms in the batch.
        key: source of the augmentation; None augments nothing.

    Returns:
        features [B, T, D], zero at and past num_frames [B].
    """
    wave_key, feature_key = (None, None) if key is None else jax.random.split(key)
    if "waveform" in batch:
        waveform, length = batch["waveform"], batch["length"]
        if key is not None:
            waveform, length = augmentation.augment_waveform(
                wave_key,
                augment,
                waveform,
                length,
                frontend.sample_rate,
                batch.get("is_background"),
            )
        features, num_frames = front_end.extract(frontend, waveform, length)
    else:
        features, num_frames = batch["features"], batch["num_frames"]
    valid = frame_mask(num_frames, features.shape[1])
    features = jnp.where(valid[..., None], (features - mean) / std, 0.0)
    if key is not None:
        centres = front_end.mel_centres(frontend)
        features, num_frames = augmentation.augment_features(
            feature_key, augment, features, num_frames, centres
        )
        valid = frame_mask(num_frames, features.shape[1])
        features = jnp.where(valid[..., None], features, 0.0)
    return features, num_frames
