"""References in noise: what the cosines are of, by encoders and repairers that are known."""

import types

import numpy as np
import pytest

from lin_jax.audio import mixing
from lin_jax.errors import AudioError
from lin_jax.evaluation.noisy_references import evaluate, in_noise, summary

RATE, N = 100, 400


class Encoder:
    """Embeds a recording as the direction of its power in two halves of the spectrum."""

    embedding_size, frontend = 2, types.SimpleNamespace(sample_rate=RATE)

    def embed_all(self, recordings, rate):
        assert rate == RATE
        for samples in recordings:
            if not np.any(samples):
                yield AudioError("silent")
                continue
            power = np.abs(np.fft.rfft(samples)) ** 2
            halves = np.array([part.sum() for part in np.array_split(power, 2)])
            yield types.SimpleNamespace(embedding=halves / np.linalg.norm(halves))


@pytest.fixture
def clean():
    """Four low tones by two speakers."""
    t = np.arange(N) / RATE
    return np.stack([np.sin(2 * np.pi * hz * t) for hz in (3, 4, 5, 6)]).astype(np.float32)


def test_repair_brings_the_profile_back(clean):
    noises = [np.sin(2 * np.pi * 40 * np.arange(150) / RATE)]

    def repair(samples, rate):  # nothing above the tones
        spectrum = np.fft.rfft(samples)
        spectrum[100:] = 0
        return np.fft.irfft(spectrum, N)

    systems = {"filtered": (types.SimpleNamespace(repair=repair), Encoder())}
    results = evaluate(systems, Encoder(), clean, ["a", "a", "b", "b"], noises)
    assert (results["clips"], results["speakers"]) == (4, ["a", "b"])
    rows = results["conditions"]
    noisy = [rows[name]["noisy"]["value"] for name in ("0 dB", "5 dB", "10 dB", "clean")]
    assert noisy == sorted(noisy)
    assert noisy[0] == pytest.approx(0.5**0.5, abs=0.02)
    assert noisy[-1] == pytest.approx(1.0, abs=1e-6)
    assert rows["in noise"]["noisy"]["value"] == pytest.approx(np.mean(noisy[:3]), abs=1e-6)
    assert rows["0 dB"]["filtered"]["value"] > 0.99
    low, high = (rows["0 dB"]["noisy"][name] for name in ("low", "high"))
    assert low <= noisy[0] <= high
    assert "0 dB: cosine with the clean profile noisy 0.7" in summary(results)


def test_noises_take_turns_and_repeat_themselves(clean):
    noises = [np.ones(7, np.float32), -np.ones(N, np.float32)]
    noisy = in_noise(clean, noises, 20)
    differences = noisy - clean
    np.testing.assert_allclose(differences[0], -differences[1], atol=1e-6)
    np.testing.assert_allclose(differences[2], differences[0], atol=1e-6)
    ratio = 10 * np.log10(np.mean(clean[0] ** 2) / np.mean(differences[0] ** 2))
    assert ratio == pytest.approx(20, abs=0.1)
    np.testing.assert_allclose(noisy[0], mixing.add_noise(clean[0], np.ones(N), 20), atol=1e-6)


def test_who_is_lost_is_like_nobody(clean):
    """A recording of which a repair leaves nothing."""
    keeps = types.SimpleNamespace(repair=lambda x, rate: x * (np.abs(x).max() < 1.3))
    systems = {"strict": (keeps, Encoder())}
    row = evaluate(systems, Encoder(), clean, list("aabb"), [np.ones(N)])["conditions"]
    assert row["clean"]["strict"]["value"] == pytest.approx(1.0, abs=1e-6)
    assert row["0 dB"]["strict"]["value"] == 0
    assert row["0 dB"]["noisy"]["value"] > 0
