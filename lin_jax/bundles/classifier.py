"""A trained classifier in use: what a recording is, as a whole or window by window.

Shape letters: B windows, N samples, T frames, D features, C classes.
"""

import copy
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from lin_jax.audio.diagnosis import diagnose, is_narrow
from lin_jax.bundles.base import BATCHES, WAVEFORM, Bundle, Function, is_path, on_device, padded
from lin_jax.bundles.windows import Windows
from lin_jax.errors import AudioError, BundleError, SilenceError

NO_SPEECH, TOO_SHORT, UNSURE = "no speech", "too short", "unsure"  # in place of a class
NOISY = "the recording is too noisy to tell"
NARROW = "the recording has too narrow a band to tell"
MAY_BE_CHILD = "may be a child: the label is not to be relied upon"
# A recording up to this long is read whole; a longer one window by window, so that memory stays
# constant.
WHOLE_SECONDS = 60.0
BLOCK_SECONDS = 10.0  # of a recording that is measured


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The classification of a recording.

    Attributes:
        label: the likeliest class; "unsure" where it is not likely enough, "no speech" or "too
            short" where a bundle does not answer.
        probabilities: of each class; empty where it does not answer.
        seconds: length of the recording.
        note: what the bundle says beside every answer, and `MAY_BE_CHILD`, `NOISY` or `NARROW`
            where that is so.
    """

    label: str
    probabilities: dict[str, float]
    seconds: float
    note: str = ""

    @property
    def probability(self) -> float:
        """That of the likeliest class; 0 where there is none."""
        return max(self.probabilities.values(), default=0.0)


@dataclasses.dataclass(frozen=True)
class Segment:
    """The classification of what lies from `start` to `end` seconds.

    In silence `label` is None, and where nobody speaks it may be "no speech"; `probabilities` are
    empty then.
    """

    start: float
    end: float
    label: str | None
    probabilities: dict[str, float]


@dataclasses.dataclass(eq=False, repr=False)
class Classifier(Bundle):
    """A trained classifier with all it takes to use it; its network maps features [B, T, D] to logits [B, C].

    Attributes:
        mean: of each feature over the training frames [D].
        std: its standard deviation [D].
        labels: name of each class (C), in the order of the logits.
        members: number of networks whose probabilities are averaged; when more than one,
            `variables`, `mean` and `std` have a leading member axis.
        temperature: what logits are divided by, so that a probability is how often it is right (Guo
            et al., 2017).
        tta: the fields of `lin_jax.tasks.classification.TestTimeAugmentation` that are not its defaults.
        window_seconds: length of the windows in which a recording is classified.
        unsure_below: probability below which the label is "unsure" in place of the likeliest class.
        no_speech: the class of recordings in which nobody speaks, silence among them; None where
            silence is an error.
        speech_gate: name or folder of a classifier that knows a class `no_speech`: windows that
            are such to it are not classified, and a recording of nothing else is "no speech"; ""
            asks none.
        child_gate: name or folder of a verifier that knows voices of children, of whom the label
            is not to be relied upon, as the note then says; "" asks none.
        min_seconds: of sound, below which a recording is "too short".
        min_snr_db: below which a recording is "unsure", as is then one that came by telephone or
            the like; 0 takes all.
        note: stands beside every answer, such as of what speech it learnt.
        fused: another classifier of the same labels, which classifies recordings by features of its
            own; its probabilities and those of this one are averaged.
    """

    mean: np.ndarray
    std: np.ndarray
    labels: tuple[str, ...]
    members: int = 1
    temperature: float = 1.0
    tta: dict = dataclasses.field(default_factory=dict)
    window_seconds: float = 3.0
    unsure_below: float = 0.0
    no_speech: str | None = None
    speech_gate: str = ""
    child_gate: str = ""
    min_seconds: float = 0.0
    min_snr_db: float = 0.0
    note: str = ""
    fused: "Classifier | None" = None

    task: ClassVar[str] = "classification"
    concurrent: ClassVar[bool] = True
    arrays: ClassVar[tuple[str, ...]] = ("mean", "std")
    parts: ClassVar[tuple[str, ...]] = ("speech_gate", "child_gate")

    def __post_init__(self):
        if self.fused and _settings_of(self) != _settings_of(self.fused):
            raise BundleError(
                f"{self.name}: has other windows, or other labels, than the one fused with it"
            )

    def with_weights(self, variables: dict, mean, std) -> "Classifier":
        """The same with other weights, such as those of another fold; what is compiled is shared."""
        self._forward  # noqa: B018
        other = copy.copy(self)
        other.__dict__.pop("_members", None)
        other.variables, other.mean, other.std = variables, mean, std
        return other

    def fuse(self, other: "Classifier") -> "Classifier":
        """The same, fused with another one.

        Raises:
            BundleError: they have other labels, or classify other windows.
        """
        fused = copy.copy(self)
        fused.fused = other
        fused.__post_init__()
        return fused

    def member(self, index: int) -> "Classifier":
        """One of its networks alone; fused with the one of the same number, where others are."""
        weights = self.variables, self.mean, self.std
        if self.members > 1:
            import jax

            weights = jax.tree.map(lambda leaf: leaf[index], weights)
        alone = self.with_weights(*weights)
        alone.members, alone.fused = 1, self.fused and self.fused.member(index)
        return alone

    def share_gate(self, loaded: Mapping[str, Bundle]):
        """Ask the gates that are among bundles by name, and do not load them once more.

        Raises:
            BundleError: it is no gate for this one.
        """
        if self.speech_gate in loaded:
            self.__dict__["_gate"] = self._checked_gate(loaded[self.speech_gate])
        if self.child_gate in loaded:
            self.__dict__["_child_gate"] = self._checked_child_gate(loaded[self.child_gate])

    def settings(self) -> dict:
        """See `Bundle`."""
        return {
            "labels": list(self.labels),
            "members": self.members,
            "calibration": {"temperature": self.temperature, "unsure_below": self.unsure_below},
            "tta": self.tta,
            "window_seconds": self.window_seconds,
            "no_speech": self.no_speech,
            "speech_gate": self.speech_gate,
            "child_gate": self.child_gate,
            "min_seconds": self.min_seconds,
            "min_snr_db": self.min_snr_db,
            "note": self.note,
        }

    @classmethod
    def from_settings(cls, settings: dict, **common) -> "Classifier":
        """See `Bundle`."""
        return cls(
            **common,
            labels=tuple(settings["labels"]),
            members=settings["members"],
            temperature=settings["calibration"]["temperature"],
            tta=settings["tta"],
            window_seconds=settings["window_seconds"],
            unsure_below=settings["calibration"].get("unsure_below", 0.0),
            no_speech=settings.get("no_speech"),
            speech_gate=settings.get("speech_gate", ""),
            child_gate=settings.get("child_gate", ""),
            min_seconds=settings.get("min_seconds", 0.0),
            min_snr_db=settings.get("min_snr_db", 0.0),
            note=settings.get("note", ""),
        )

    def functions(self) -> dict[str, Function]:
        """See `Bundle`."""
        gate = self._gate  # within a trace, no weights can be read

        def classify(waveform, length):
            windows = Windows(waveform, length)

            def mean(bundle):
                return sum(share * rows for rows, share in bundle._by_network(windows))

            outputs = {"probabilities": mean(self)}
            if gate:
                outputs["no_speech"] = mean(gate)[:, gate.labels.index(gate.no_speech)]
            return outputs

        gated = (
            " `no_speech` [b], how likely nobody speaks; from 0.5 on, the bundle does not answer."
            if gate
            else ""
        )
        teach = (
            f"waveforms of {self.window_seconds:g} s at most to `probabilities` [b, "
            f"{len(self.labels)}] of {', '.join(self.labels)}; below {self.unsure_below:g}, the "
            f"likeliest is unsure.{gated} Of a longer recording, take the mean over windows."
        )
        return {"classify": Function(classify, WAVEFORM, teach)}

    def predict(self, source, sample_rate: int | None = None) -> Prediction:
        """Classify a recording: the mean over its half-overlapping windows and over the members.

        Where the bundle knows a class `no_speech`, only windows in which somebody speaks count, if
        there are any. Where it has a `speech_gate`, it does not answer if there are none.

        Args:
            source: path of an audio file, or a waveform [N] or [N, channels].
            sample_rate: of a waveform, in Hz; not used for a path.

        Returns:
            A `Prediction`.

        Raises:
            AudioError: the recording cannot be read, is shorter than one frame, or is silent and
                the bundle has neither a class nor a gate for that.
        """
        from lin_jax.audio import files

        rate = self.rate(source, sample_rate)
        seconds = files.duration(source) if is_path(source) else len(source) / rate
        try:
            rows = self._window_probabilities(source, rate, seconds)
        except SilenceError:
            if self.speech_gate:
                return Prediction(NO_SPEECH, {}, seconds, self.note)
            if self.no_speech is None:
                raise
            rows = np.array([[float(label == self.no_speech) for label in self.labels]])
        if rows is None:
            return Prediction(TOO_SHORT, {}, seconds, self.note)
        if self.no_speech is not None:
            speech = rows[:, self.labels.index(self.no_speech)] < 0.5
            rows = rows[speech] if speech.any() else rows
        answered = rows[~np.isnan(rows[:, 0])]
        row = answered.mean(axis=0) if len(answered) else rows[0]
        label, probabilities = self._named(row)
        speaks = label not in (NO_SPEECH, self.no_speech)
        warning = self._warning(source, rate) if speaks and self.child_gate else ""
        fault = self._fault(source, rate) if speaks and self.min_snr_db else ""
        note = "; ".join(filter(None, [self.note, warning, fault]))
        return Prediction(UNSURE if fault else label, probabilities, seconds, note)

    def _fault(self, source, rate: int) -> str:
        """`NOISY` or `NARROW`, or "", of a whole recording with its pauses."""
        from lin_jax.audio import files

        blocks = (
            files.stream(source, rate, block_seconds=BLOCK_SECONDS) if is_path(source) else [source]
        )
        diagnosis = diagnose(blocks, rate)
        if diagnosis.snr_db < self.min_snr_db:
            return NOISY
        return NARROW if is_narrow(diagnosis.band_hz or rate / 2) else ""

    def _warning(self, source, rate: int) -> str:
        """`MAY_BE_CHILD`, or "", also where there is too little of a voice to tell."""
        (voice,) = self._child_gate.embed_all([source], rate)
        known = not isinstance(voice, AudioError)
        return MAY_BE_CHILD if known and self._child_gate.may_be_child(voice) else ""

    def _window_probabilities(self, source, rate: int, seconds: float) -> np.ndarray | None:
        """`_probabilities` of the windows of a recording that are not silent; None if it is too short."""
        from lin_jax.audio import files

        if seconds > WHOLE_SECONDS:
            segments = [segment for segment in self.timeline(source, rate) if segment.label]
            if not segments:
                raise SilenceError(f"{source}: silent throughout; record it again or leave it out")
            unanswered = dict.fromkeys(self.labels, np.nan)
            return np.array([list((s.probabilities or unanswered).values()) for s in segments])
        samples = files.load(source, self.frontend, sample_rate=rate)
        if len(samples) < self.min_seconds * self.frontend.sample_rate:
            return None
        size = self._window
        count = 1 + max(0, -(-(len(samples) - size) // (size // 2)))
        starts = np.linspace(0, max(0, len(samples) - size), count).astype(int)
        return self._probabilities([samples[start : start + size] for start in starts])

    def timeline(self, source, sample_rate: int | None = None) -> Iterator[Segment]:
        """Classify a recording of any length window by window, in constant memory.

        Args:
            source: path of an audio file, or a waveform [N] or [N, channels].
            sample_rate: of a waveform, in Hz; not used for a path.

        Yields:
            A `Segment` for each window, without gaps; the last is as short as the recording makes
            it, but is classified together with what came before.

        Raises:
            AudioError: as for `predict`, at the window where the fault is met.
        """
        from lin_jax.audio import files

        rate = self.rate(source, sample_rate)
        size = round(self.window_seconds * rate)
        name = str(source) if is_path(source) else "samples"
        if is_path(source):
            blocks = files.stream(source, rate, block_seconds=self.window_seconds)
        else:
            blocks = (source[i : i + size] for i in range(0, len(source), size))
        start, before, spans, windows = 0, None, [], []
        for block in blocks:
            end = start + len(block)
            silent = np.abs(block).max() < files.SILENCE
            spans.append((start / rate, end / rate, silent))
            if not silent:
                span = block if before is None else np.concatenate([before, block])[-size:]
                files.check(span, name, min_samples=self.frontend.win_length)
                windows.append(files.load(span, self.frontend, sample_rate=rate))
            start, before = end, block
            if len(spans) == BATCHES[-1]:
                yield from self._segments(spans, windows)
                spans, windows = [], []
        yield from self._segments(spans, windows)

    def _segments(self, spans, windows) -> Iterator[Segment]:
        rows = iter(self._probabilities(windows))
        for start, end, silent in spans:
            yield Segment(start, end, *((None, {}) if silent else self._named(next(rows))))

    def _probabilities(self, windows: list[np.ndarray]) -> np.ndarray:
        """Class probabilities [B, C] of B windows, NaN where the gate finds no speech.

        Each is a waveform at the front end's rate, and at most one window long.
        """
        rows = np.full((len(windows), len(self.labels)), np.nan)
        for start in range(0, len(windows), BATCHES[-1]):
            chunk = windows[start : start + BATCHES[-1]]
            batch, speech = self._batch(chunk), np.ones(len(chunk), bool)
            if gate := self._gate:
                voiceless = gate._classify(batch)[:, gate.labels.index(gate.no_speech)]
                speech = voiceless[: len(chunk)] < 0.5
                if not speech.any():
                    continue
                if not speech.all():
                    batch = self._batch([chunk[i] for i in np.flatnonzero(speech)])
            rows[start + np.flatnonzero(speech)] = self._classify(batch)[: speech.sum()]
        return rows

    def _batch(self, windows: list[np.ndarray]) -> Windows:
        # Several networks hear every window in several variants: few windows make a small batch.
        return Windows(*padded(windows, self._window, 1 << (len(windows) - 1).bit_length()))

    def _classify(self, windows: Windows) -> np.ndarray:
        """Class probabilities [B, C] of the windows of a batch."""
        with self.weights_fit():
            rows, shares = zip(*self._by_network(windows), strict=True)
            return np.average(rows, axis=0, weights=shares)

    def _by_network(self, windows: Windows) -> Iterator[tuple[Any, float]]:
        """Class probabilities [B, C] by each network, and its share in the mean; also within a trace."""
        features, parts = windows.features(self.frontend, self._tta.speeds), 2 if self.fused else 1
        for member in self._members:
            yield self._forward(member, features), 1 / parts / len(self._members)
        if self.fused:
            for rows, share in self.fused._by_network(windows):
                yield rows, share / parts

    def _named(self, row: np.ndarray) -> tuple[str, dict[str, float]]:
        if np.isnan(row[0]):
            return NO_SPEECH, {}
        label = self.labels[int(row.argmax())] if row.max() >= self.unsure_below else UNSURE
        return label, dict(zip(self.labels, row.tolist(), strict=True))

    @functools.cached_property
    def _gate(self) -> "Classifier | None":
        return self._checked_gate(self.load(self.speech_gate)) if self.speech_gate else None

    def _checked_gate(self, gate: Any) -> "Classifier":
        if getattr(gate, "no_speech", None) is None or _windows(gate) != _windows(self):
            raise BundleError(
                f"{self.speech_gate}: does not tell where nobody speaks in the windows of "
                f"{self.name}; use a gender bundle"
            )
        return gate

    @functools.cached_property
    def _child_gate(self) -> Any:
        return self._checked_child_gate(self.load(self.child_gate))

    def _checked_child_gate(self, gate: Any) -> Any:
        if getattr(gate, "child_weight", None) is None:
            raise BundleError(f"{self.child_gate}: knows no voices of children; use speaker")
        return gate

    @property
    def _tta(self) -> Any:
        from lin_jax.tasks.classification import TestTimeAugmentation

        return TestTimeAugmentation(**self.tta)

    @property
    def _window(self) -> int:
        return round(self.window_seconds * self.frontend.sample_rate)

    @functools.cached_property
    def _members(self) -> list:
        """The members one by one: calling one network many times is faster than a `vmap` over convolution weights."""
        import jax

        tree = (self.variables, self.mean, self.std)
        if self.members == 1:
            return [on_device(tree)]
        return [
            on_device(jax.tree.map(lambda leaf, i=i: leaf[i], tree)) for i in range(self.members)
        ]

    @functools.cached_property
    def _forward(self):
        import jax

        from lin_jax.tasks.classification import Classification, ClassificationConfig

        config = ClassificationConfig(tta=self._tta)

        @jax.jit
        def forward(member, features):  # [B, T, D], [B] at each speed -> [B, C]
            variables, mean, std = member
            # Its training task is asked, so that serving cannot drift from training.
            task = Classification(self.model, self.labels, self.frontend, mean, std, config)
            batches = ({"features": f, "num_frames": n} for f, n in features)
            logits = [task.predict(variables, batch)["logits"] for batch in batches]
            return jax.nn.softmax(sum(logits) / len(logits) / self.temperature)

        return forward


def _settings_of(bundle: Classifier) -> tuple:
    """What classifiers must have in common to be asked about the same windows."""
    return bundle.labels, *_windows(bundle)


def _windows(bundle: Classifier) -> tuple:
    """How recordings become the windows that a classifier is asked about."""
    return bundle.window_seconds, bundle.frontend.waveform_settings
