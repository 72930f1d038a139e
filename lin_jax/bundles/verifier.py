"""A trained speaker encoder in use: the embedding of a voice, and whether recordings are of the same speaker.

Shape letters: B windows, N samples, T frames, D features, E embedding, S strangers.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import numbers
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from lin_jax.audio.diagnosis import diagnose, is_narrow
from lin_jax.bundles.base import (
    BATCHES,
    WAVEFORM,
    Bundle,
    Function,
    is_path,
    on_device,
    padded,
    weights_digest,
)
from lin_jax.bundles.windows import Windows
from lin_jax.errors import AudioError, BundleError, ConfigError
from lin_jax.vectors import mean_direction, unit_vectors

# A recording is embedded in windows of at most the last of these lengths in seconds, and each window
# is padded to one of them: so many shapes are compiled and no more.
LENGTHS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
# Windows embedded of one recording, spread evenly over a longer one: more of it says little new about
# the voice.
MAX_WINDOWS = 15
MIN_SECONDS = 0.5  # of sound; of less there is no embedding
MIN_BAND_HZ = 3000.0  # what a telephone lets through; without it the decision is "unsure"
CALIBRATION = ("threshold", "slope", "offset", "speech_bias", "speech_threshold", "min_seconds")
READ_AHEAD = 32  # recordings that are read while as many others go through the network


@dataclasses.dataclass(frozen=True, eq=False)
class SpeakerEmbedding:
    """The embedding of the speaker of one recording.

    Attributes:
        name: path of the recording, or "samples".
        embedding: unit vector [E]; near those of the same speaker.
        seconds: how much sound was embedded, without the silence at both ends.
        speech: probability that it is speech.
        digest: of the samples; recordings that share it are copies of each other.
        band_hz: frequency above which nothing is audible; None where all is that the front end
            takes.
    """

    name: str
    embedding: np.ndarray
    seconds: float
    speech: float
    digest: str
    band_hz: float | None = None

    @property
    def narrow(self) -> bool:
        """Whether its band is that of a narrow channel, such as a telephone's."""
        return is_narrow(self.band_hz)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether two sides are the same speaker.

    Attributes:
        decision: "unsure" where a side is too short, too narrow in frequency, or not speech.
        score: cosine similarity of the two sides, -1 to 1.
        distance: cosine distance, 1 - score.
        normalised_score: what is decided by, see `scoring.ScoringBackend`; the score itself where the bundle
            has neither PLDA nor a cohort of strangers.
        threshold: the normalised score from which on two sides count as the same speaker.
        probability: of the same speaker, if same and different are equally likely beforehand; 0.5
            where unsure.
        reason: what makes it unsure, or what else to know; else "".
        threshold_probability: the probability at the threshold.
    """

    decision: Literal["same", "different", "unsure"]
    score: float
    distance: float
    normalised_score: float
    threshold: float
    probability: float
    reason: str
    threshold_probability: float = 0.5


@dataclasses.dataclass(eq=False, repr=False)
class Verifier(Bundle):
    """A trained speaker encoder with all it takes to use it; its network maps features [B, T, D] to unit vectors.

    Attributes:
        mean: of each feature over the training frames [D].
        std: its standard deviation [D].
        threshold: normalised score from which on two sides count as the same speaker.
        slope: of the logistic function that makes a normalised score a probability.
        offset: of the same: probability = 1 / (1 + exp(-(slope * normalised score + offset))).
        speech_weight: of the logistic regression that tells speech by its embedding [E].
        speech_bias: of the same.
        speech_threshold: probability of speech below which a recording does not count as speech.
        min_seconds: of sound on a side, below which the verdict is unsure.
        speeds: at which each recording is embedded, as in `VerificationConfig`; an embedding holds one
            part for each.
        plda_mean: of the `scoring.Plda` whose likelihood ratios are the scores [E]; without one
            they are cosines.
        plda_axes: of the same [E, D].
        plda_between: of the same [D].
        cohort: unit vectors of the strangers that scores are normalised by [S, E]; without them
            scores stay as they are.
        top: strangers that a side is compared with, those nearest to it.
        fused: another verifier, which embeds recordings by features of its own; embeddings are
            those of both, `joined`.
        fusion_weight: of what is beside in a score.
        narrow_cohort: the cohort of recordings with a narrow band [S, E], see
            `scoring.ScoringBackend`.
        child_weight: of the logistic regression that tells the voice of a child by its embedding
            [E], that of what is fused included; None where none was learnt.
        child_bias: of the same, such that it is positive where a child may speak.
    """

    mean: np.ndarray
    std: np.ndarray
    speech_weight: np.ndarray
    speech_bias: float
    threshold: float
    slope: float
    offset: float
    speech_threshold: float = 0.5
    min_seconds: float = 1.0
    speeds: tuple[float, ...] = (1.0,)
    plda_mean: np.ndarray | None = None
    plda_axes: np.ndarray | None = None
    plda_between: np.ndarray | None = None
    cohort: np.ndarray | None = None
    top: int = 100
    fused: "Verifier | None" = None
    fusion_weight: float = 0.0
    narrow_cohort: np.ndarray | None = None
    child_weight: np.ndarray | None = None
    child_bias: float = 0.0

    task: ClassVar[str] = "verification"
    concurrent: ClassVar[bool] = True
    arrays: ClassVar[tuple[str, ...]] = ("mean", "std", "speech_weight")
    optional_arrays: ClassVar[tuple[str, ...]] = (
        "plda_mean",
        "plda_axes",
        "plda_between",
        "cohort",
        "narrow_cohort",
        "child_weight",
    )

    def __post_init__(self):
        if self.fused and self.frontend.waveform_settings != self.fused.frontend.waveform_settings:
            raise BundleError(
                f"{self.name}: prepares waveforms otherwise than the one it is fused with"
            )

    def settings(self) -> dict:
        """See `Bundle`."""
        calibration = {name: float(getattr(self, name)) for name in CALIBRATION}
        return {
            "calibration": calibration,
            "speeds": list(self.speeds),
            "top": self.top,
            "fusion_weight": self.fusion_weight,
            "child_bias": self.child_bias,
        }

    @classmethod
    def from_settings(cls, settings: dict, **common) -> "Verifier":
        """See `Bundle`."""
        calibration = {name: settings["calibration"][name] for name in CALIBRATION}
        # Bundles from before there were cohorts, or another one fused, lack what these need.
        names = ("top", "fusion_weight", "child_bias")
        added = {name: settings.get(name, getattr(cls, name)) for name in names}
        return cls(**common, **calibration, speeds=tuple(settings["speeds"]), **added)

    def functions(self) -> dict[str, Function]:
        """See `Bundle`."""
        import jax

        from lin_jax.vectors import unit_norm

        def embed(waveform, length):
            embedding = self._joined_embedding(Windows(waveform, length))
            member = unit_norm(embedding[:, : len(self.speech_weight)])
            logit = member @ np.float32(self.speech_weight) + self.speech_bias
            return {"embedding": embedding, "speech": jax.nn.sigmoid(logit)}

        size = self.embedding_size
        sides = dict.fromkeys(("first", "second"), ("float32", f"b, {size}"))
        return {
            "embed": Function(
                embed,
                WAVEFORM,
                f"waveforms, best of {LENGTHS[-1]:g} s at most, to `embedding` [b, {size}], unit "
                f"vectors, and `speech` [b], how likely it is speech; below "
                f"{self.speech_threshold:g} it is none.",
            ),
            "compare": Function(
                self._compare,
                sides | {"narrow": ("bool", "b")},
                "embeddings of two sides, each the unit vector of the mean over its recordings, and "
                "`narrow`, whether a recording of either came by telephone or the like, to "
                "`score` [b], the cosine, `normalised_score` [b], from "
                f"{self.threshold:.4f} on the same speaker, and `probability` [b] of that.",
            ),
        }

    def _joined_embedding(self, windows: Windows):
        """Embeddings [B, E] of windows; for use in a trace."""
        from lin_jax.scoring import joined

        embedding = self._forward(self._constants, windows.features(self.frontend, self.speeds))
        if not self.fused:
            return embedding
        return joined(embedding, self.fused._joined_embedding(windows), self.fusion_weight)

    def _compare(self, first, second, narrow):
        """Scores [B] and probabilities of embeddings [B, E]; for use in a trace."""
        import jax
        import jax.numpy as jnp

        from lin_jax.scoring import pair_scores

        normalised = pair_scores(self.backend, first, second, narrow)
        return {
            "score": jnp.sum(first * second, axis=-1).clip(-1.0, 1.0),
            "normalised_score": normalised,
            "probability": jax.nn.sigmoid(self.slope * normalised + self.offset),
        }

    def embed(self, source, sample_rate: int | None = None) -> np.ndarray:
        """Embedding of the voice in a recording.

        Args:
            source: path of an audio file, or a waveform [N] or [N, channels].
            sample_rate: of a waveform, in Hz; not used for a path.

        Returns:
            float32 unit vector [E].

        Raises:
            AudioError: the recording cannot be read, is silent or holds less than `MIN_SECONDS` of
                sound.
        """
        return self._all([source], sample_rate)[0].embedding

    def embed_files(self, paths: Iterable) -> np.ndarray:
        """Embeddings [number of paths, E] of many files, many times faster than one by one; errors as for `embed`."""
        return np.stack([voice.embedding for voice in self._all(paths)])

    def verify(
        self, a, b, threshold: float | None = None, sample_rate: int | None = None
    ) -> Verdict:
        """Judge whether two sides are the same speaker.

        Args:
            a: source as for `embed`, or a list of them, whose embeddings are averaged.
            b: the other side, likewise.
            threshold: normalised score from which on they count as the same speaker; None is the
                bundle's own.
            sample_rate: of waveforms, in Hz.

        Returns:
            A `Verdict`.

        Raises:
            AudioError: as for `embed`.
        """
        a, b = (side if isinstance(side, list | tuple) else [side] for side in (a, b))
        voices = self._all([*a, *b], sample_rate)
        return self.compare(voices[: len(a)], voices[len(a) :], threshold)

    def compare(
        self,
        a: Sequence[SpeakerEmbedding],
        b: Sequence[SpeakerEmbedding],
        threshold: float | None = None,
    ) -> Verdict:
        """The `Verdict` on two sides that were embedded already, each one voice at least; see `verify`."""
        if not a or not b:
            raise AudioError("a side without recordings cannot be compared; give one at least")
        threshold = self.threshold if threshold is None else threshold
        if not isinstance(threshold, numbers.Real) or not np.isfinite(threshold):
            raise ConfigError(
                f"threshold {str(threshold)[:40]}: not a number that scores can reach; choose one"
            )
        if self.cohort is None and self.plda_mean is None and not -1 <= threshold <= 1:
            raise ConfigError(
                f"threshold {threshold:g}: a cosine similarity lies between -1 and 1; choose one there"
            )
        sides = np.stack([_mean(a), _mean(b)])  # [2, E]
        score = float(np.clip(sides[0] @ sides[1], -1.0, 1.0))
        bands = [any(voice.narrow for voice in side) for side in (a, b)]
        normalised = float(self.backend.scores(sides, [(0, 1)], bands)[0])
        little = self._too_little(a) or self._too_little(b)
        narrow = self._too_narrow(a) or self._too_narrow(b)
        decided = "same" if normalised >= threshold else "different"
        same = "unsure" if little or narrow else decided
        reason = little or narrow
        twins = [(x.name, y.name) for x in a for y in b if x.digest == y.digest]
        if twins and not little:
            name, other = twins[0]
            named = (
                f"{name} is compared with itself"
                if name == other
                else f"{name} and {other} are the same recording"
            )
            reason = f"{named}: that tells nothing about the speaker; give another recording"
        probability = 0.5 if same == "unsure" else _logistic(self.slope * normalised + self.offset)
        at_threshold = _logistic(self.slope * threshold + self.offset)
        figures = score, 1.0 - score, normalised, threshold, probability
        return Verdict(same, *figures, reason, at_threshold)

    def may_be_child(self, voice: SpeakerEmbedding) -> bool:
        """Whether a voice is likelier a child's, under 14; never, where the bundle has not learnt it."""
        weight = self.child_weight
        return weight is not None and bool(weight @ voice.embedding + self.child_bias > 0)

    def reason_unsure(self, voices: Sequence[SpeakerEmbedding]) -> str:
        """Why a side cannot be decided on, or ""."""
        return self._too_little(voices) or self._too_narrow(voices)

    def _too_little(self, voices: Sequence[SpeakerEmbedding]) -> str:
        for voice in voices:
            if voice.speech < self.speech_threshold:
                return f"{voice.name} does not sound like speech"
        seconds = sum(voice.seconds for voice in voices)
        if seconds < self.min_seconds:
            names = " + ".join(voice.name for voice in voices)
            return f"{names}: {seconds:.1f} s of sound are too short to be sure, {self.min_seconds:g} s are needed"
        return ""

    def _too_narrow(self, voices: Sequence[SpeakerEmbedding]) -> str:
        for voice in voices:
            if voice.band_hz is not None and voice.band_hz < MIN_BAND_HZ:
                return (
                    f"{voice.name}: nothing of the voice above {voice.band_hz / 1000:.1f} kHz, "
                    f"{MIN_BAND_HZ / 1000:g} kHz are needed to be sure"
                )
        return ""

    def embed_all(
        self, sources: Iterable, sample_rate: int | None = None
    ) -> Iterator[SpeakerEmbedding | AudioError]:
        """Embed any number of recordings: they are read ahead in threads and go through the network in batches.

        Args:
            sources: as for `embed`.
            sample_rate: of those that are waveforms, in Hz.

        Yields:
            For each source, in order, its `SpeakerEmbedding`, or the AudioError that says why there is none.
        """
        sources = list(sources)
        groups = [
            sources[start : start + READ_AHEAD] for start in range(0, len(sources), READ_AHEAD)
        ]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            ahead = []
            for group in [*groups, []]:
                reading = [pool.submit(self._read, source, sample_rate) for source in group]
                yield from self._embed_group([future.result() for future in ahead])
                ahead = reading

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits shared only by bundles whose embeddings can be compared."""
        settings = f"{self.frontend.fingerprint()} {self.speeds}"
        digest = weights_digest(settings, (self.variables, self.mean, self.std))
        if self.fused:
            digest.update(f"{self.fused.fingerprint} {self.fusion_weight}".encode())
        return digest.hexdigest()[:12]

    @property
    def embedding_size(self) -> int:
        """How many numbers an embedding has."""
        return len(self.speech_weight) + (self.fused.embedding_size if self.fused else 0)

    @functools.cached_property
    def backend(self):
        """How its embeddings are compared: a `scoring.ScoringBackend`."""
        from lin_jax.scoring import Plda, ScoringBackend

        plda = (
            None
            if self.plda_mean is None
            else Plda(self.plda_mean, self.plda_axes, self.plda_between)
        )
        fused = self.fused and self.fused.backend
        size = len(self.speech_weight)
        return ScoringBackend(
            plda, self.cohort, self.top, fused, size, self.fusion_weight, self.narrow_cohort
        )

    def _all(self, sources, sample_rate=None) -> list[SpeakerEmbedding]:
        voices = []
        for voice in self.embed_all(sources, sample_rate):
            if isinstance(voice, AudioError):
                raise voice
            voices.append(voice)
        return voices

    def _read(self, source, sample_rate) -> "_Recording | AudioError":
        from lin_jax.audio import files

        rate, longest = self.frontend.sample_rate, LENGTHS[-1]
        size = round(longest * rate)
        name = str(source) if is_path(source) else "samples"
        try:
            if is_path(source) and files.duration(source) > MAX_WINDOWS * longest:
                # Only the windows are read, so that memory stays constant.
                starts = np.linspace(0.0, files.duration(source) - longest, MAX_WINDOWS)
                blocks = [
                    files.read(source, rate, start=start, duration=longest)[0] for start in starts
                ]
                loud = [block for block in blocks if np.abs(block).max() >= files.SILENCE]
                if not loud:
                    raise AudioError(f"{name}: silent throughout; record it again or leave it out")
                windows = [
                    files.load(block, self.frontend, sample_rate=rate)[:size] for block in loud
                ]
                seconds = sum(map(len, windows)) / rate
            else:
                samples = files.load(
                    source, self.frontend, sample_rate=self.rate(source, sample_rate)
                )
                count = min(MAX_WINDOWS, max(1, -(-len(samples) // size)))
                starts = np.linspace(0, max(0, len(samples) - size), count).astype(int)
                windows = [samples[start : start + size] for start in starts]
                seconds = len(samples) / rate
            if seconds < MIN_SECONDS:
                raise AudioError(
                    f"{name}: {seconds:.2f} s of sound are too short for a voice, {MIN_SECONDS} s are needed; "
                    "use a longer clip"
                )
        except AudioError as error:
            return error
        return _Recording(name, windows, seconds, diagnose(windows, rate).band_hz)

    def _embed_group(
        self, group: "list[_Recording | AudioError]"
    ) -> Iterator[SpeakerEmbedding | AudioError]:
        """The voices of recordings, in order; their windows are mixed, so that batches are full."""
        from lin_jax.scoring import first

        windows = [
            window for item in group if isinstance(item, _Recording) for window in item.windows
        ]
        embeddings = iter(self._embeddings(windows))
        for item in group:
            if isinstance(item, AudioError):
                yield item
                continue
            digest, total = hashlib.sha256(), np.zeros(self.embedding_size)
            for window in item.windows:
                digest.update(window)
                total += len(window) * next(embeddings)
            embedding = unit_vectors(total).astype(np.float32)
            member = first(embedding, len(self.speech_weight))
            speech = _logistic(self.speech_weight @ member + self.speech_bias)
            yield SpeakerEmbedding(
                item.name, embedding, item.seconds, speech, digest.hexdigest(), item.band_hz
            )

    def _embeddings(self, windows: list[np.ndarray]) -> np.ndarray:
        """Embeddings [B, E] of B waveforms, each at the front end's rate; those of like length go together."""
        sizes = [round(seconds * self.frontend.sample_rate) for seconds in LENGTHS]
        rows = np.zeros((len(windows), self.embedding_size), np.float32)
        longest_first = sorted(range(len(windows)), key=lambda i: -len(windows[i]))
        for start in range(0, len(windows), BATCHES[-1]):
            chosen = longest_first[start : start + BATCHES[-1]]
            size = next(size for size in sizes if size >= len(windows[chosen[0]]))
            batch = Windows(*padded([windows[i] for i in chosen], size))
            with self.weights_fit():
                rows[chosen] = self._joined_embedding(batch)[: len(chosen)]
        return rows

    @functools.cached_property
    def _constants(self) -> Any:
        return on_device((self.variables, self.mean, self.std))

    @functools.cached_property
    def _forward(self):
        import jax

        from lin_jax.tasks.verification import Verification

        @jax.jit
        def forward(constants, features):  # [B, T, D], [B] at each speed -> [B, E]
            variables, mean, std = constants
            # Its training task is asked, so that serving cannot drift from training.
            task = Verification(self.model, 0, self.frontend, mean, std)
            return task.embed(variables, [{"features": f, "num_frames": n} for f, n in features])

        return forward


@dataclasses.dataclass(frozen=True)
class _Recording:
    """A recording as the network takes it: windows at the front end's rate, each at most the longest of `LENGTHS`."""

    name: str
    windows: list[np.ndarray]
    seconds: float
    band_hz: float | None


def _logistic(x) -> float:
    return float(1 / (1 + np.exp(-x)))


def _mean(voices: Sequence[SpeakerEmbedding]) -> np.ndarray:
    """The mean direction of their embeddings: a unit vector [E]."""
    return mean_direction([voice.embedding for voice in voices])
