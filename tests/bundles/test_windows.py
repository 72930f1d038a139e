"""Windows as bundles hear them: played and analysed once, as `change_speed` and `extract` do it."""

import jax.numpy as jnp
import numpy as np

from lin_jax.audio import augment, frontend
from lin_jax.bundles.windows import Windows

FRONTEND = frontend.FrontendConfig()


def windows():
    rng = np.random.default_rng(0)
    return Windows(rng.normal(0, 0.1, (2, 8000)).astype(np.float32), np.array([8000, 5000]))


def test_features_are_those_of_what_is_played():
    heard = windows()
    slow, own, fast = heard.features(FRONTEND, (0.8, 1.0, 1.25))
    for (features, num_frames), speed in ((slow, 0.8), (own, 1.0), (fast, 1.25)):
        room = np.pad(heard.waveform, ((0, 0), (0, 2000)))
        played = augment.change_speed(room, heard.length, jnp.full(2, speed))
        expected, frames = frontend.extract(FRONTEND, *played)
        np.testing.assert_array_equal(num_frames, frames)
        T = min(features.shape[1], expected.shape[1])
        np.testing.assert_allclose(features[:, :T], expected[:, :T], atol=2e-3)
        assert not features[:, T:].any()


def test_they_are_made_once():
    heard = windows()
    first, again = (heard.features(FRONTEND, (1.0, 1.1)) for _ in range(2))
    assert all(a is b for a, b in zip(first, again, strict=True))
    coarser = frontend.FrontendConfig(hop_length=2 * FRONTEND.hop_length)
    ((features, _),) = heard.features(coarser, (1.1,))
    assert features.shape[1] < first[1][0].shape[1]
