"""The settings of the front end, which can be read without importing JAX."""

import dataclasses
import hashlib
import json

from lin_jax.errors import ConfigError


@dataclasses.dataclass
class FrontendConfig:
    """How a recording becomes features; stored with every feature set and every trained model.

    Attributes:
        sample_rate: of the waveform, in Hz; files at other rates are resampled to it.
        feature: "log_mel" (decibels), "mfcc", or "functionals", which are one frame for a whole
            clip.
        n_fft: FFT size in samples, even.
        win_length: length of the Hann window in samples, at most `n_fft`.
        hop_length: samples from one frame to the next.
        n_mels: number of mel bands.
        f_min: lower edge of the lowest band, in Hz.
        f_max: upper edge of the highest band, in Hz; None is half the sample rate.
        n_mfcc: cepstral coefficients kept when `feature` is not "log_mel".
        deltas: how many orders of time derivatives follow the static features: 0, 1 or 2.
        top_db: everything this far below the clip's loudest value is raised to that floor; None
            keeps the full range.
        trim_db: leading and trailing sound this far below the loudest frame is cut from files; None
            cuts nothing.
        level: "peak" or "rms" scales files to `level_db`, "none" leaves them as recorded.
        level_db: the level aimed at, in dB below full scale.
    """

    sample_rate: int = 16000
    feature: str = "log_mel"
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    n_mels: int = 64
    f_min: float = 20.0
    f_max: float | None = None
    n_mfcc: int = 20
    deltas: int = 0
    top_db: float | None = 80.0
    trim_db: float | None = 30.0
    level: str = "none"
    level_db: float = -3.0

    def __post_init__(self):
        self.validate()

    def validate(self):
        """Raises ConfigError unless the values can work together.

        The config can be changed after it was made, by command-line flags, so whoever reads it
        validates again.
        """
        nyquist = self.sample_rate / 2
        f_max = nyquist if self.f_max is None else self.f_max
        rules = {
            "sample_rate must be positive": self.sample_rate > 0,
            "feature must be log_mel, mfcc or functionals": self.feature
            in ("log_mel", "mfcc", "functionals"),
            "n_fft must be even and positive": self.n_fft > 0 and self.n_fft % 2 == 0,
            "win_length must be from 1 to n_fft": 1 <= self.win_length <= self.n_fft,
            "hop_length must be from 1 to win_length": 1 <= self.hop_length <= self.win_length,
            "n_mels must be positive": self.n_mels > 0,
            f"f_min and f_max must satisfy 0 <= f_min < f_max <= {nyquist:g}": 0
            <= self.f_min
            < f_max
            <= nyquist,
            "n_mfcc must be from 1 to n_mels": self.feature == "log_mel"
            or 1 <= self.n_mfcc <= self.n_mels,
            "deltas must be 0, 1 or 2": self.deltas in (0, 1, 2),
            "functionals have no deltas": self.feature != "functionals" or self.deltas == 0,
            "top_db must be positive or None": self.top_db is None or self.top_db > 0,
            "trim_db must be positive or None": self.trim_db is None or self.trim_db > 0,
            "level must be peak, rms or none": self.level in ("peak", "rms", "none"),
            "level_db must be at most 0": self.level_db <= 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ConfigError(f"front end cannot work as configured: {'; '.join(broken)}")

    @property
    def num_features(self) -> int:
        """Size D of one feature frame."""
        if self.feature == "functionals":
            from lin_jax.audio import functionals

            return functionals.count(self.n_mels, self.n_mfcc)
        return (self.n_mels if self.feature == "log_mel" else self.n_mfcc) * (1 + self.deltas)

    @property
    def waveform_settings(self) -> tuple:
        """How a recording becomes a waveform, before its features.

        Front ends that share it share waveforms.
        """
        return self.sample_rate, self.trim_db, self.level, self.level_db

    def num_frames(self, num_samples):
        """Number of frames of a clip of `num_samples` samples (int or array).

        One every hop, the first at sample 0.
        """
        return (
            num_samples if self.feature != "functionals" else 0 * num_samples
        ) // self.hop_length + 1

    def to_dict(self) -> dict:
        """The config as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "FrontendConfig":
        """The config that `to_dict` came from.

        ConfigError if a key is unknown or a value cannot be.
        """
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(
                f"front end has no setting {', '.join(unknown)}: remove it or update lin_jax"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(
                f"front end has a setting of the wrong type ({error}): correct it"
            ) from None

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits, the same for configs that give the same features, and only then."""
        self.validate()
        # Flags and JSON may turn 20.0 into 20: one spelling per value keeps the fingerprint stable.
        canonical = {
            key: float(value) if isinstance(value, int | float) else value
            for key, value in self.to_dict().items()
        }
        return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()[:12]
