"""What must hold of whatever judges a waveform by the clean one, if a network is to learn from it."""

import jax.numpy as jnp
import numpy as np


def check_slope(judge, slope, damaged, clean, *, step: float):
    """Gradients point to the clean waveform, a step along them is judged better, and silence keeps them finite.

    Args:
        judge: (estimate, target) [B, N] → [B], the higher the better.
        slope: the same → gradient of its sum by the estimate [B, N].
        damaged: waveforms [B, N].
        clean: what they should be [B, N].
        step: largest change of a sample.
    """
    uphill = slope(damaged, clean)
    assert jnp.vdot(uphill, clean - damaged) > 0
    assert (
        judge(damaged + step * uphill / jnp.abs(uphill).max(), clean)[0] > judge(damaged, clean)[0]
    )
    for estimate, target in (
        (clean, clean),
        (0 * clean, clean),
        (clean, 0 * clean),
        (0 * clean, 0 * clean),
    ):
        assert np.isfinite(slope(estimate, target)).all()
