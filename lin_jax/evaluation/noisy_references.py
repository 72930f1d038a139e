"""Whose voice a noisy recording is taken for: its profile beside that of the clean one.

Shape letters: B clips, N samples, E numbers of a profile.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lin_jax import metrics
from lin_jax.audio import mixing
from lin_jax.bundles import Repairer, Verifier
from lin_jax.errors import AudioError

SNRS_DB = (0, 5, 10)
NOISY = "noisy"  # the recording as it is


def evaluate(
    systems: Mapping[str, tuple[Repairer | None, Verifier]],
    encoder: Verifier,
    clean: np.ndarray,
    speakers: ArrayLike,
    noises: Sequence[np.ndarray],
) -> dict:
    """Embed recordings in noise by every system, and compare with the clean ones.

    Args:
        systems: by name what recordings are repaired by, if at all, and embedded by.
        encoder: what the clean ones are embedded by; the unrepaired ones, as the system "noisy", too.
        clean: clips of one length at the rate of its front end [B, N].
        speakers: who speaks each [B].
        noises: recorded ones of any length, at the same rate, which take turns.

    Returns:
        "conditions": for each of `SNRS_DB`, all of them, and without noise, by system the mean
        cosine of the profiles with those of the clean clips, with its 95 % interval over speakers.
    """
    rate, speakers = encoder.frontend.sample_rate, np.asarray(speakers)
    systems = {NOISY: (None, encoder)} | dict(systems)
    target, cosines = _profiles(encoder, clean, rate), {}
    for snr in (*SNRS_DB, None):
        recordings = clean if snr is None else in_noise(clean, noises, snr)
        for name, (repairer, embedder) in systems.items():
            repaired = [repairer.repair(x, rate) for x in recordings] if repairer else recordings
            cosines[snr, name] = np.sum(_profiles(embedder, repaired, rate) * target, axis=1)

    def row(names: Sequence[int | None]) -> dict:
        values = {name: np.mean([cosines[snr, name] for snr in names], axis=0) for name in systems}
        return {name: _figure(cosine, speakers) for name, cosine in values.items()}

    conditions = {f"{snr} dB": row([snr]) for snr in SNRS_DB}
    conditions |= {"in noise": row(SNRS_DB), "clean": row([None])}
    return {"clips": len(clean), "speakers": np.unique(speakers).tolist(), "conditions": conditions}


def in_noise(clean: np.ndarray, noises: Sequence[np.ndarray], snr_db: float) -> np.ndarray:
    """Clips [B, N] with noises, which take turns and repeat themselves, at a ratio in dB [B, N]."""
    drawn = (noises[number % len(noises)] for number in range(len(clean)))
    return np.stack(
        [mixing.add_noise(x, noise, snr_db) for x, noise in zip(clean, drawn, strict=True)]
    )


def summary(results: Mapping) -> str:
    """The conditions as a table, a line each."""
    rows = results["conditions"].items()
    return "\n".join(
        f"{condition}: cosine with the clean profile "
        + ", ".join(
            f"{name} {figure['value']:.3f} ({figure['low']:.3f} – {figure['high']:.3f})"
            for name, figure in row.items()
        )
        for condition, row in rows
    )


def _profiles(encoder: Verifier, recordings, rate: int) -> np.ndarray:
    """Profiles [B, E] of recordings; zero, and so like nobody's, where there is no voice."""
    voices = encoder.embed_all(list(recordings), rate)
    nobody = np.zeros(encoder.embedding_size)
    return np.stack(
        [nobody if isinstance(voice, AudioError) else voice.embedding for voice in voices]
    )


def _figure(values: np.ndarray, speakers: np.ndarray) -> dict[str, float]:
    low, high = metrics.bootstrap_mean(values, speakers)
    return {"value": float(np.mean(values)), "low": low, "high": high}
