"""Whose voice it is that speaks: what a speaker encoder hears in everybody, to compare with.

Shape letters: B clips, E embedding, P speakers.
"""

from collections.abc import Sequence

import numpy as np

from experiments._synthesis import Experiment
from lin_jax import bundles
from lin_jax.errors import AudioError


class Profiles:
    """The voice of every speaker of the corpora, known by some of the speaker's clips.

    Args:
        experiment: whose corpora these are, and whose `EvalConfig` says which encoder hears how
            many clips.
    """

    def __init__(self, experiment: Experiment):
        config, rng, good = (
            experiment.config.judge,
            np.random.default_rng(experiment.config.seed),
            experiment.natural,
        )
        self._encoder = bundles.load(config.encoder)
        self._rate = experiment.clips.frontend.sample_rate
        self._names = np.unique(experiment.speakers[good])
        self._known = np.concatenate(
            [
                rng.permutation(good[experiment.speakers[good] == name])[: config.profile]
                for name in self._names
            ]
        )
        self._who = experiment.speakers[self._known]
        self._heard = self._hear(
            [experiment.clips.rows[i]["path"] for i in self._known]
        )  # [clips, E]
        self._profiles = np.stack(
            [_direction(self._heard[self._who == name]) for name in self._names]
        )  # [P, E]
        corpus = dict(zip(experiment.speakers, experiment.clips.corpora, strict=True))
        self._corpora = np.array([corpus[name] for name in self._names])
        self._clear = np.isin(
            self._corpora, np.unique(experiment.clips.corpora[experiment.anchor_voices])
        )

    def compare(
        self, systems: dict[str, Sequence], speakers, hidden
    ) -> dict[str, dict[str, np.ndarray]]:
        """How near clips come to the voice of their speaker.

        Args:
            systems: of each, B clips by the same speakers, as paths or as samples at the rate of
                the corpora.
            speakers: of each clip [B].
            hidden: for each clip (B) those of the corpora that tell nothing of its speaker, such as
                the one itself and those in which its voice was heard.

        Returns:
            For each system "similarity" [B], a cosine; "speaker_top1" [B], whether nobody else in the
            corpora is nearer, and "speaker_top1_in_group" [B], the same among those who are clear or those
            who are not, as the speaker is; and "strangers" [B], the mean similarity to the others
            of the corpus. A clip in which no voice is heard is close to nobody.
        """
        mine = [
            self._heard[(self._who == name) & ~np.isin(self._known, own)]
            for name, own in zip(speakers, hidden, strict=True)
        ]
        mine = np.stack(list(map(_direction, mine)))  # [B, E]
        place = np.searchsorted(self._names, speakers)
        own = np.arange(len(self._names)) == place[:, None]  # [B, P]
        kin = self._clear == self._clear[place][:, None]
        beside = self._corpora == self._corpora[place][:, None]
        figures = {}
        for system, clips in systems.items():
            spoken = self._hear(clips)
            similarity, others = (
                np.sum(spoken * mine, axis=1),
                spoken @ self._profiles.T,
            )  # [B], [B, P]
            others[own] = np.nan

            def speaker_top1(among, similarity=similarity, others=others):
                nearest = np.where(among & ~np.isnan(others), others, -np.inf).max(axis=1)
                found = np.nan_to_num(similarity, nan=-np.inf) > nearest
                return np.where(np.isnan(mine[:, 0]) | ~(among & ~own).any(axis=1), np.nan, found)

            strangers = np.where(beside, others, np.nan)
            count = np.sum(~np.isnan(strangers), axis=1)
            figures[system] = {
                "similarity": similarity,
                "speaker_top1": speaker_top1(np.ones_like(own)),
                "speaker_top1_in_group": speaker_top1(kin),
                "strangers": np.nansum(strangers, axis=1) / np.where(count > 0, count, np.nan),
            }
        return figures

    def _hear(self, sources) -> np.ndarray:
        """Embeddings [B, E] of recordings, NaN where there is no voice."""
        heard = list(self._encoder.embed_all(sources, self._rate))
        nobody = np.full(self._encoder.embedding_size, np.nan)
        return np.stack(
            [nobody if isinstance(voice, AudioError) else voice.embedding for voice in heard]
        )


def _direction(vectors) -> np.ndarray:
    """The mean direction of embeddings [clips, E], of those that are known: a unit vector [E], NaN if none is."""
    total = np.nansum(vectors, axis=0)
    return total / (np.linalg.norm(total) or np.nan)
