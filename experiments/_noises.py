"""Recorded noises of several feature sets: some of each held out, the others drawn from equally often."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from data_pipelines.feature_set import FeatureSet, open_features
from lin_jax.audio.frontend_config import FrontendConfig

SECONDS = 10  # of a noise to train with: longer ones are cut into pieces


@dataclasses.dataclass(frozen=True, eq=False)
class Noises:
    """Recordings in which nobody speaks.

    Attributes:
        clips: all of them.
        test: those to evaluate in, indices.
        train: those to train with, indices.
    """

    clips: FeatureSet
    test: np.ndarray
    train: np.ndarray

    @classmethod
    def open(cls, folders: str, frontend: FrontendConfig, hold_out: int, seed: int) -> "Noises":
        """Open feature sets.

        Args:
            folders: of the "waveform" store, with commas between them.
            frontend: that they must have.
            hold_out: noises of each set to evaluate in; at most a fifth of them.
            seed: of their choice.
        """
        clips, test, train = open_features(folders, frontend), [], []
        for corpus in np.unique(clips.corpora):
            here = np.flatnonzero(clips.corpora == corpus)
            shuffled = np.random.default_rng(seed).permutation(here)
            count = min(hold_out, len(here) // 5)
            test.extend(shuffled[:count])
            train.extend(shuffled[count:])
        return cls(clips, np.array(test, int), np.array(train, int))

    def waveforms(self, indices: Iterable[int]) -> list[np.ndarray]:
        """Samples [N] of some noises."""
        return [self.clips[int(index)]["waveform"] for index in indices]

    def names(self, indices: Iterable[int]) -> list[str]:
        """Their ids."""
        return [self.clips.rows[int(index)]["id"] for index in indices]

    def to_draw(self) -> list[np.ndarray]:
        """Pieces of the noises to train with, of each set about equally many."""
        corpora, longest = self.clips.corpora[self.train], SECONDS * self.clips.frontend.sample_rate
        pieces = [
            [
                piece
                for noise in self.waveforms(self.train[corpora == corpus])
                for piece in np.array_split(noise, -(-len(noise) // longest))
            ]
            for corpus in np.unique(corpora)
        ]
        most = max(map(len, pieces))
        return [piece for each in pieces for piece in each * round(most / len(each))]
