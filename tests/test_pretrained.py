"""The bundles that ship: small, described, and usable."""

import numpy as np
import pytest

import lin_jax
from lin_jax import bundles

SHIPPED = sorted(path.parent for path in bundles.PRETRAINED.glob("*/bundle.json"))


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_is_small_and_described(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 8e6
    card = (folder / "README.md").read_text()
    for part in (
        "**Trained on**",
        "**Licence.**",
        "**How good it is.**",
        "**What it is not.**",
        "python -m experiments.",
    ):
        assert part in card


def test_emotion_does_not_hear_how_loud_a_recording_is():
    bundle = lin_jax.load("emotion")
    t = np.arange(32000) / 16000
    voice = (
        sum(np.sin(2 * np.pi * 140 * k * t + 3 * np.sin(5 * t)) / k for k in range(1, 20))
        * np.sin(3 * t) ** 2
    )
    soft, loud = (bundle.predict((gain * voice).astype(np.float32), 16000) for gain in (0.01, 0.3))
    assert soft.label == loud.label
    assert soft.label in bundle.labels
    for label, probability in soft.probabilities.items():
        assert probability == pytest.approx(loud.probabilities[label], abs=1e-3)
