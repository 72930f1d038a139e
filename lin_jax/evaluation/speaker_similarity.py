"""Whose voice it is that speaks, by a speaker encoder that knows everybody to compare with.

Shape letters: B clips, E embedding, S speakers.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lin_jax.bundles import Verifier
from lin_jax.errors import AudioError


class SpeakerProfiles:
    """The voices of many speakers, each known by some clips.

    Args:
        encoder: the speaker bundle.
        clips: paths of recordings by speaker.
    """

    def __init__(self, encoder: Verifier, clips: Mapping[str, Sequence[str]]):
        self._encoder = encoder
        self._paths = np.array([path for paths in clips.values() for path in paths])
        self._speakers = np.repeat(list(clips), [len(paths) for paths in clips.values()])
        self._embeddings = self._embed(self._paths)  # [clips, E]
        self._names = np.array(list(clips))
        self._profiles = np.stack(
            [_direction(self._embeddings[self._speakers == name]) for name in self._names]
        )  # [S, E]

    def compare(
        self, recordings: Sequence, speakers: Sequence[str], hidden: Sequence[Sequence[str]]
    ) -> dict[str, np.ndarray]:
        """How near recordings come to the voices of their speakers.

        Args:
            recordings: paths, or samples at the rate of the encoder's front end (B).
            speakers: who each should be (B).
            hidden: for each (B) the paths that tell nothing of its speaker, such as the recording
                itself and those that the voice was cloned from.

        Returns:
            "similarity" [B], a cosine, and "speaker_top1" [B], whether nobody else is nearer; NaN
            where nobody is known to compare with. A recording without a voice is near nobody.
        """
        profiles = np.stack(
            [
                _direction(
                    self._embeddings[(self._speakers == name) & ~np.isin(self._paths, paths)]
                )
                for name, paths in zip(speakers, hidden, strict=True)
            ]
        )  # [B, E]
        spoken = self._embed(recordings)
        similarity, others = np.sum(spoken * profiles, axis=1), spoken @ self._profiles.T
        others[self._names == np.asarray(speakers)[:, None]] = np.nan
        nearest = np.where(np.isnan(others), -np.inf, others).max(axis=1)
        first = np.nan_to_num(similarity, nan=-np.inf) > nearest
        known = ~np.isnan(profiles[:, 0]) & (len(self._names) > 1)
        return {"similarity": similarity, "speaker_top1": np.where(known, first, np.nan)}

    def _embed(self, sources) -> np.ndarray:
        """Embeddings [B, E] of recordings, NaN where there is no voice."""
        voices = self._encoder.embed_all(list(sources), self._encoder.frontend.sample_rate)
        nobody = np.full(self._encoder.embedding_size, np.nan)
        return np.stack(
            [nobody if isinstance(voice, AudioError) else voice.embedding for voice in voices]
        )


def _direction(vectors) -> np.ndarray:
    """The mean direction of the embeddings that are known: a unit vector [E], NaN if none is."""
    total = np.nansum(vectors, axis=0)
    return total / (np.linalg.norm(total) or np.nan)
