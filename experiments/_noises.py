"""Recorded noises of several feature sets: some of each held out, the others drawn from equally often."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from data_pipelines.feature_set import FeatureSet, open_features
from lin_jax.audio.degrade import DegradeConfig, NoisePool
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
    def of(cls, config, frontend: FrontendConfig) -> "Noises | None":
        """The noises that the settings of an experiment name; None where they name none.

        Args:
            config: with `noise`, feature sets of the "waveform" store with commas between them;
                `hold_out_noises`, how many of each set, at most a fifth, are evaluated in; and the
                `seed` of their choice.
            frontend: that they must have.
        """
        if not config.noise:
            return None
        clips, test, train = open_features(config.noise, frontend), [], []
        for corpus in np.unique(clips.corpora):
            here = np.flatnonzero(clips.corpora == corpus)
            shuffled = np.random.default_rng(config.seed).permutation(here)
            count = min(config.hold_out_noises, len(here) // 5)
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


def pool_and_odds(
    noises: Noises | None, degrade: DegradeConfig
) -> tuple[NoisePool | None, DegradeConfig]:
    """What training draws noise from; without recordings, none of it is recorded."""
    if noises:
        return NoisePool.of(noises.to_draw()), degrade
    return None, dataclasses.replace(degrade, kinds=(0.0, *degrade.kinds[1:]))
