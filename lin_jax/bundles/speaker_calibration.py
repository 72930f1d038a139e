"""The threshold of a verifier for recordings of one's own: fitted by a few people, kept in a small file.

How alike the voices of two people score differs from place to place more than anything else. A few
recordings of people who are known settle it (D. van Leeuwen and N. Brümmer, "An introduction to
application-independent evaluation of speaker recognition systems", Speaker Classification I, 2007).

Shape letters: B recordings, N trials.
"""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from lin_jax import calibration, checksums, metrics
from lin_jax.bundles.verifier import SpeakerEmbedding, Verifier
from lin_jax.errors import AudioError, ConfigError

MIN_PEOPLE = 3  # of fewer there is nobody to resample
MIN_RECORDINGS = 3  # of each person
MAX_ERROR = 0.1  # equal error rate above which voices overlap too far for any threshold


@dataclasses.dataclass(frozen=True)
class SpeakerCalibration:
    """A threshold for the recordings of some people, and how sure it is.

    Attributes:
        model: `Verifier.fingerprint` of the bundle whose scores it is for.
        people: how many it was fitted by.
        recordings: of all of them.
        trials: pairs of recordings.
        threshold: normalised score from which on two sides count as the same speaker.
        threshold_low: lower end of its 95 % interval over people.
        threshold_high: upper end.
        slope: of the logistic function that makes a normalised score a probability, the bundle's.
        eer: equal error rate of these trials.
        eer_low: lower end of its 95 % interval over people.
        eer_high: upper end.
        false_accept: share of the pairs of two people that are accepted at the threshold.
        false_reject: share of the pairs of one person that are rejected at the threshold.
        overlapping: pairs of people who are told apart worse than `MAX_ERROR` allows, the worst
            first, each with their equal error rate.
    """

    model: str
    people: int
    recordings: int
    trials: int
    threshold: float
    threshold_low: float
    threshold_high: float
    slope: float
    eer: float
    eer_low: float
    eer_high: float
    false_accept: float
    false_reject: float
    overlapping: tuple[tuple[str, str, float], ...] = ()

    @classmethod
    def fit(
        cls, bundle: Verifier, voices: Mapping[str, Sequence[SpeakerEmbedding]]
    ) -> "SpeakerCalibration":
        """Fit it by all pairs of recordings.

        The slope stays the bundle's, which many more speakers taught, and the threshold is where
        as many of either kind of pair are expected on the wrong side: one number from few trials.
        Every person weighs the same.

        Args:
            bundle: the verifier.
            voices: the embeddings of each person's recordings, by name, of `Verifier.embed_all`.

        Raises:
            AudioError: fewer than `MIN_PEOPLE`, or somebody with fewer than `MIN_RECORDINGS`.
            ConfigError: the voices overlap: no threshold keeps both errors below `MAX_ERROR`.
        """
        if len(voices) < MIN_PEOPLE:
            raise AudioError(
                f"{len(voices)} people are too few to calibrate by: {MIN_PEOPLE} are needed, "
                "10 or more are better"
            )
        for name, recordings in voices.items():
            if len(recordings) < MIN_RECORDINGS:
                raise AudioError(
                    f"{name}: {len(recordings)} recordings are too few to calibrate by, "
                    f"{MIN_RECORDINGS} a person are needed; add some or leave {name} out"
                )
        names = list(voices)
        embeddings = np.stack([v.embedding for name in names for v in voices[name]])
        owners = np.repeat(np.arange(len(names)), [len(voices[name]) for name in names])  # [B]
        pairs = np.stack(np.triu_indices(len(owners), 1), axis=1)  # [N, 2]
        speakers = owners[pairs]
        narrow = [voice.narrow for name in names for voice in voices[name]]
        scores = bundle.backend.scores(embeddings, pairs, narrow)
        same = speakers[:, 0] == speakers[:, 1]
        weight = _alike(speakers)

        def error_rate(scores, same, weight):
            return metrics.equal_error_rate(scores, same, weight)[0]

        def threshold_of(scores, same, weight):
            return calibration.balanced_threshold(scores, same, bundle.slope, weight)

        overlapping = []
        for a, b in itertools.combinations(range(len(names)), 2):
            chosen = np.isin(speakers, (a, b)).all(axis=1)
            rate = error_rate(scores[chosen], same[chosen], weight[chosen])
            if rate > MAX_ERROR:
                overlapping.append((names[a], names[b], rate))
        overlapping.sort(key=lambda pair: -pair[2])
        eer = error_rate(scores, same, weight)
        if eer > MAX_ERROR:
            raise ConfigError(_refusal(eer, overlapping))
        trials = scores, same, speakers
        low, high = metrics.bootstrap_trials(*trials, threshold_of, base_weight=weight)
        eer_low, eer_high = metrics.bootstrap_trials(*trials, error_rate, base_weight=weight)
        threshold = threshold_of(scores, same, weight)
        accepted = scores >= threshold
        return cls(
            bundle.fingerprint,
            len(names),
            len(owners),
            len(scores),
            threshold,
            low,
            high,
            bundle.slope,
            eer,
            eer_low,
            eer_high,
            float(np.average(accepted[~same], weights=weight[~same])),
            float(np.average(~accepted[same], weights=weight[same])),
            tuple(overlapping),
        )

    def to_json(self) -> str:
        """The text of the file that `load` reads."""
        return checksums.to_json(dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "SpeakerCalibration":
        """Read a file with the text that `to_json` made.

        Raises:
            ConfigError: no such file, or not one of its.
        """
        try:
            kept = checksums.from_json(pathlib.Path(path).read_text(encoding="utf-8"))
            overlapping = tuple((a, b, rate) for a, b, rate in kept.pop("overlapping"))
            return cls(**kept, overlapping=overlapping)
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be read ({error.strerror}); lin calibrate writes such a file"
            ) from None
        except (ValueError, TypeError, KeyError):
            raise ConfigError(
                f"{path}: damaged or no calibration; write it again with lin calibrate"
            ) from None

    def apply(self, bundle: Verifier) -> Verifier:
        """The verifier with this threshold, and probabilities that are one half there.

        Raises:
            ConfigError: it was fitted by the scores of another bundle.
        """
        if self.model != bundle.fingerprint:
            raise ConfigError(
                f"{bundle.name}: another model than the calibration was made with; "
                "run lin calibrate with this one"
            )
        offset = -self.slope * self.threshold
        return dataclasses.replace(
            bundle, threshold=self.threshold, slope=self.slope, offset=offset
        )


def _alike(speakers) -> np.ndarray:
    """Weights [N] of trials of speakers [N, 2], such that every pair of people counts the same."""
    _, kinds, counts = np.unique(
        np.sort(speakers, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    return 1.0 / counts[kinds.ravel()]


def _refusal(eer: float, overlapping: Sequence[tuple[str, str, float]]) -> str:
    worst = ""
    if overlapping:
        a, b, rate = overlapping[0]
        worst = f", of {a} and {b} {rate:.0%}"
    return (
        f"the voices overlap: {eer:.0%} of the decisions would be wrong at the best threshold"
        f"{worst}, so there is none; check that each folder is one person, or record longer and "
        "in less noise"
    )
