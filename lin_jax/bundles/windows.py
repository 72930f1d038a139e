"""Windows of recordings as a batch, and their features at the speeds at which bundles hear them.

Shape letters: B windows, N samples, T frames, D features.
"""

import dataclasses
import functools


class Windows:
    """A batch of windows whose features are made once, for all networks that ask for them.

    Attributes:
        waveform: [B, N], at the rate of every front end that is asked for.
        length: valid samples of each, [B] int.
    """

    def __init__(self, waveform, length):
        self.waveform, self.length = waveform, length
        self._played, self._features = {1.0: (waveform, length)}, {}

    def features(self, frontend, speeds) -> list[tuple]:
        """Features [B, T, D] and their frames [B] at each speed; also within a trace."""
        settings = dataclasses.astuple(frontend)
        for speed in speeds:
            if speed not in self._played:
                self._played[speed] = _player(speed)(self.waveform, self.length)
            if (settings, speed) not in self._features:
                self._features[settings, speed] = _extractor(settings)(*self._played[speed])
        return [self._features[settings, speed] for speed in speeds]


# Compiled once for all bundles. Apart, since one program would play every sample anew for each frame
# that it is in, and a half more time goes by.
@functools.cache
def _player(speed: float):
    import jax
    import jax.numpy as jnp

    from lin_jax.audio import augment

    @jax.jit
    def play(waveform, length):
        B, N = waveform.shape
        waveform = jnp.pad(waveform, ((0, 0), (0, augment.room(N, 1 / speed))))
        return augment.change_speed(waveform, length, jnp.full(B, speed))

    return play


@functools.cache
def _extractor(settings: tuple):
    import jax

    from lin_jax.audio import frontend
    from lin_jax.audio.frontend_config import FrontendConfig

    return jax.jit(functools.partial(frontend.extract, FrontendConfig(*settings)))
