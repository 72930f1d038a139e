"""Audio files on the host: find, read, stream, write, and bring to one rate, level and length.

Shape letters: N samples. Samples are float32 with full scale ±1. soundfile and soxr are imported
where they are used, so that importing the library stays light.
"""

import contextlib
import dataclasses
import io
import math
import numbers
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lin_jax import durable
from lin_jax.audio.decoding import SAMPLE_RATES, Info, describe, opened
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.audio.levels import SILENCE, level, peak, trim_silence
from lin_jax.errors import AudioError, AudioWarning, SilenceError

WRITABLE = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
_OTHERS = (  # that look like audio, video with sound included
    ".m4a .m4b .mp4 .mov .3gp .3g2 .aac .amr .awb .caf .wma .asf .webm .weba .mka .mkv .mp1 .mp2 "
    ".mpga .ac3 .eac3 .dts .ogx .ogv .spx .w64 .rf64 .bwf .wave .aifc .snd .wv .tta .ape .ra .rm "
    ".avi"
)
SUFFIXES = (*WRITABLE, *_OTHERS.split())  # what is searched for; content decides what is inside
FORMATS = {".oga": "OGG", ".opus": "OGG", ".aif": "AIFF"}  # where they are not soundfile's names
INTEGERS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}  # bits of a sample
# Encodings of samples one by one, or that every rate and length can be written in.
REWRITABLE = (*INTEGERS, "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS", "OPUS", "MPEG_LAYER_III")
OPPOSITE = 0.1  # share of the channels' power below which their mean is no picture of them
LOSSY = ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "VORBIS", "OPUS")

LOUDEST = 2.0**31  # a 32-bit integer that was never scaled to ±1; squares of much more overflow
MAX_BLOCK = 1 << 20  # samples that are read at once where nobody knows how many there are


def find(folder) -> list[Path]:
    """Audio files under a folder and its subfolders, sorted by path.

    Args:
        folder: path; hidden files, such as the `._` companions of some archives, are passed over,
            and links to folders are followed.

    Returns:
        Paths with a suffix in `SUFFIXES`.

    Raises:
        AudioError: the folder is missing or holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AudioError(f"{folder}: no such folder; check the path")
    paths = [
        path
        for path in _under(folder)
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    if not paths:
        raise AudioError(
            f"{folder}: no audio files; put .wav, .flac, .mp3 or the like in it, or name another "
            "folder"
        )
    return sorted(paths)


def _under(folder: Path) -> Iterator[Path]:
    """The files under a folder, those in linked folders too; no link leads back to where it lies."""

    def name_unreadable(error: OSError):
        message = f"{error.filename}: cannot be read ({error.strerror}), and passed over"
        warnings.warn(AudioWarning(message), stacklevel=4)

    for place, inner, names in os.walk(folder, onerror=name_unreadable, followlinks=True):
        here = Path(place)
        inner[:] = [
            name
            for name in inner
            if not (
                (here / name).is_symlink()
                and here.resolve().is_relative_to((here / name).resolve())
            )
        ]
        yield from (here / name for name in names)


def load(
    source, config: FrontendConfig, *, sample_rate: int | None = None, speed: float = 1.0
) -> np.ndarray:
    """The waveform that the front end takes: mono, at its rate, checked, trimmed and levelled.

    Args:
        source: path of an audio file, or samples [N] or [N, channels], floats in ±1 or 16- or
            32-bit integers.
        config: the front end.
        sample_rate: of `source` in Hz; required for samples, not used for a path.
        speed: at which it is played, pitch and all.

    Returns:
        float32 [N].

    Raises:
        AudioError: there is no usable sound.
    """
    config.validate()
    if isinstance(source, str | os.PathLike):
        name = str(source)
        samples, sample_rate = read(source)
    else:
        name, sample_rate = "samples", check_rate(sample_rate)
        samples = _mono(_as_float32(source))
    samples = resample(samples, round(sample_rate * speed), config.sample_rate)
    check(samples, name, min_samples=config.win_length)
    if config.trim_db is not None:
        samples = trim_silence(samples, config.trim_db)
    if config.level != "none":
        samples = level(samples, target_db=config.level_db, kind=config.level)
    return samples


def read(
    path,
    sample_rate: int | None = None,
    *,
    mono: bool = True,
    start: float = 0.0,
    duration: float | None = None,
):
    """Samples of an audio file.

    Args:
        path: file in any format of `SUFFIXES`.
        sample_rate: rate to resample to in Hz; None keeps the file's own.
        mono: average the channels.
        start: where to begin, in seconds.
        duration: how much to read, in seconds; None reads to the end.

    Returns:
        float32 [N], or [N, channels] if not `mono`, and the sample rate in Hz.

    Raises:
        AudioError: the file is missing, truncated, empty, not audio, or holds samples that are not
            finite.
    """
    if sample_rate is not None:
        sample_rate = check_rate(sample_rate)
    with opened(path) as source:
        rate = source.sample_rate
        first = round(start * rate)
        wanted = math.inf if duration is None else round(duration * rate)
        known = source.num_samples and max(0, source.num_samples - first)
        parts, count = [], 0
        # Integers are read faster than converted, and NumPy converts them to the same floats.
        dtype = "int16" if source.subtype == "PCM_16" else "float32"
        size = max(1, int(min(wanted, known or MAX_BLOCK)))
        for block in source.blocks(size, first, dtype):
            parts.append(block[: wanted - count] if wanted < math.inf else block)
            count += len(parts[-1])
            if count >= wanted:
                break
        if not count:
            length = describe(path).seconds
            raise AudioError(f"{path}: no samples at {start:g} s; the file is {length:g} s long")
    samples = _as_float32(parts[0] if len(parts) == 1 else np.concatenate(parts))
    _check_values(samples, path)
    samples = _mono(samples, path) if mono else samples
    return resample(samples, rate, sample_rate or rate), sample_rate or rate


def stream(path, sample_rate: int, *, block_seconds: float) -> Iterator[np.ndarray]:
    """Samples of an audio file of any length in blocks, in constant memory.

    Args:
        path: audio file, as for `read`.
        sample_rate: rate to resample to in Hz.
        block_seconds: length of a block in seconds.

    Yields:
        float32 [round(block_seconds * sample_rate)], mono; the last one may be shorter. Together
        they are what `read` returns.

    Raises:
        AudioError: as for `read`, at the block where the fault is met.
    """
    import soxr

    size = max(1, round(block_seconds * sample_rate))
    resampler, pending = None, []
    with opened(path) as source:
        whole = source.blocks(max(1, round(block_seconds * source.sample_rate)))
        for block, last in _marking_last(whole):
            _check_values(block, path)
            resampler = resampler or soxr.ResampleStream(
                source.sample_rate, sample_rate, 1, dtype="float32"
            )
            pending.append(resampler.resample_chunk(_mono(block, path), last=last))
            if sum(map(len, pending)) >= size:
                joined = np.concatenate(pending)
                whole_blocks = len(joined) // size * size
                yield from joined[:whole_blocks].reshape(-1, size)
                pending = [joined[whole_blocks:]]
    if resampler is None:
        raise AudioError(f"{path}: no samples; record it again or leave it out")
    rest = np.concatenate(pending)
    if len(rest):
        yield rest


def blocks(source, sample_rate: int | None = None, *, block_seconds: float) -> Iterator[np.ndarray]:
    """Samples as they are, at their own rate and with all channels, block by block.

    Args:
        source: path of an audio file, as for `read`, or samples [N] or [N, channels], as for
            `load`.
        sample_rate: of samples in Hz; not used for a path.
        block_seconds: length of a block in seconds.

    Yields:
        float32 [round(block_seconds * rate), channels]; the last one may be shorter.

    Raises:
        AudioError: as for `read`, at the block where the fault is met.
    """
    if not isinstance(source, str | os.PathLike):
        sample_rate = check_rate(sample_rate)
        samples, size = _as_float32(source), max(1, round(block_seconds * sample_rate))
        for start in range(0, len(samples), size):
            block = samples[start : start + size]
            _check_values(block, "samples")
            yield block.reshape(len(block), -1)
        return
    with opened(source) as file:
        for block in file.blocks(max(1, round(block_seconds * file.sample_rate))):
            _check_values(block, source)
            yield block


def duration(path) -> float:
    """Length of an audio file in seconds; AudioError as for `read`."""
    return describe(path).seconds


def write(path, samples, sample_rate: int):
    """Writes an audio file whole or not at all.

    Args:
        path: where to, with a suffix in `WRITABLE` that names the format; an existing file is
            replaced at the end.
        samples: float [N] or [N, channels], full scale ±1; what goes beyond is clipped by integer
            formats.
        sample_rate: in Hz.

    Raises:
        AudioError: the samples are not finite, the format cannot hold them, or the disk does not
            take them.
    """
    import soundfile

    path, sample_rate = Path(path), check_rate(sample_rate)
    samples = _as_float32(samples)
    _check_values(samples, path)
    encoded = io.BytesIO()
    subtype = "OPUS" if path.suffix.lower() == ".opus" else None
    try:
        soundfile.write(encoded, samples, sample_rate, format=_format(path), subtype=subtype)
    except (RuntimeError, ValueError, TypeError):
        raise AudioError(
            f"{path}: no such format for samples {samples.shape} at {sample_rate} Hz; use .wav"
        ) from None
    with _replacing(path) as part:
        part.write_bytes(encoded.getbuffer())


def encoding(path, like: Info) -> Info:
    """How a recording is written to a path.

    Its suffix names the container, the encoding stays as it was if it can.

    Where it cannot, as that of MP3 in FLAC, it is the container's own, with 24 bits if the samples
    have more than 16.

    Args:
        path: where to.
        like: what the recording was.

    Returns:
        What it will be.

    Raises:
        AudioError: the suffix is not in `WRITABLE`.
    """
    import soundfile

    kind, suffix = _format(path), Path(path).suffix.lower()
    if suffix not in WRITABLE or kind not in soundfile.available_formats():
        problem = f"no audio format is called {suffix}" if suffix else "its suffix names the format"
        raise AudioError(f"{path}: {problem}; use .wav or .flac")
    if kind == "WAV" and like.format in ("WAVEX", "RF64"):  # WAV too
        kind = like.format
    fine = (
        "PCM_24"
        if like.subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")
        else soundfile.default_subtype(kind)
    )
    if suffix == ".opus":
        wanted = ["OPUS"]
    elif like.subtype not in REWRITABLE:
        wanted = [soundfile.default_subtype(kind)]
        if like.subtype not in LOSSY:
            warnings.warn(
                AudioWarning(f"{path}: written as {wanted[0]}, since {like.subtype} cannot be"),
                stacklevel=2,
            )
    elif kind == like.format or like.subtype not in LOSSY:
        wanted = [like.subtype, fine, soundfile.default_subtype(kind)]
    else:
        wanted = [soundfile.default_subtype(kind)]
    subtype = next(name for name in wanted if soundfile.check_format(kind, name))
    return dataclasses.replace(like, format=kind, subtype=subtype)


@contextlib.contextmanager
def writing(path, info: Info, *, comment: str = "") -> Iterator["Writer"]:
    """Write an audio file block by block, in constant memory; it is there whole or not at all.

    Args:
        path: where to; a file there is replaced at the end, if all went well, and its permissions
            stay.
        info: what is written, and exactly how many samples.
        comment: that stands in the metadata.

    Yields:
        A `Writer`.

    Raises:
        AudioError: the format cannot hold it or the disk does not take it.
    """
    import soundfile

    with _replacing(path) as part:
        layout = info.sample_rate, info.channels, info.subtype
        try:
            file = soundfile.SoundFile(os.fsencode(part), "w", *layout, format=info.format)
        except (RuntimeError, ValueError):
            if reason := _why_unwritable(part):
                raise _unwritten(path, reason) from None
            raise AudioError(
                f"{path}: {info.format} does not take {info.channels} channels of {info.subtype} "
                f"at {info.sample_rate} Hz; use .wav"
            ) from None
        with file:
            for name, value in info.tags:
                with contextlib.suppress(RuntimeError):  # a container without such tags
                    setattr(file, name, value)
            try:
                if comment:
                    file.comment, file.software = comment, "lin_jax"
            except RuntimeError:
                raise AudioError(
                    f"{path}: {info.format} cannot carry the comment that is needed; use .wav"
                ) from None
            yield Writer(file, path, part)
        try:
            complete = describe(part).num_samples == info.num_samples
        except AudioError:
            complete = False
        if not complete:  # what is written when a file is closed may be lost without a word
            raise _unwritten(path, _why_unwritable(part) or "its end is missing")


class Writer:
    """What `writing` writes to. Samples of integer formats come out bit for bit as they were read.

    Attributes:
        cut: number of samples that were beyond full scale and were cut, as integers must be.
    """

    def __init__(self, file, path, part):
        """Write to a file that soundfile opened as `part`, on its way to `path`."""
        self._file, self._path, self._part, self.cut = file, path, part, 0

    def write(self, samples: np.ndarray):
        """Append float samples [n, channels]."""
        if bits := INTEGERS.get(self._file.subtype):
            # libsndfile would scale by one less than it divides by when it reads.
            top = 2.0 ** (bits - 1)
            dtype = np.dtype(np.float64 if bits > 16 else np.float32)
            samples = np.rint(samples.astype(dtype) * top)
            self.cut += int(np.count_nonzero(np.abs(samples) > top))
            samples = np.clip(samples, -top, top - 1)
            samples = (
                samples.astype(np.int16) if bits == 16 else samples.astype(np.int32) << (32 - bits)
            )
        try:
            self._file.write(samples)
        except RuntimeError:  # libsndfile does not say why
            reason = _why_unwritable(self._part) or "the disk does not take it"
            raise _unwritten(self._path, reason) from None


@contextlib.contextmanager
def _replacing(path) -> Iterator[Path]:
    """A file beside `path` that takes its place if the context ends without an error.

    Else it is gone.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    try:
        with durable.replacing(target) as part:
            part.touch()
            yield part
            if target.exists():
                shutil.copymode(target, part)
    except OSError as error:
        raise _unwritten(path, error.strerror) from None


def _why_unwritable(part) -> str:
    """What the system says of a file that libsndfile could not write, or ""; it is lost anyway."""
    try:
        with open(part, "ab") as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _unwritten(path, reason):
    return AudioError(f"{path}: not written ({reason}); free space or choose another folder")


def _format(path) -> str:
    """The name that soundfile has for the container of a suffix."""
    suffix = Path(path).suffix.lower()
    return FORMATS.get(suffix, suffix[1:].upper())


def resample(samples: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Samples [N, …] at another rate, [about N * target / source, …], by soxr in high quality."""
    import soxr

    if source_rate == target_rate:
        return samples
    return soxr.resample(samples, source_rate, target_rate)


def check_rate(sample_rate, name: str = "samples") -> int:
    """A sample rate as an int; AudioError, beginning with `name`, unless sound can have it."""
    if sample_rate is None:
        raise AudioError(f"{name}: the sample rate is unknown; pass sample_rate=")
    low, high = SAMPLE_RATES
    number = isinstance(sample_rate, numbers.Real) and not isinstance(sample_rate, bool)
    if not number or not low <= sample_rate <= high or sample_rate != int(sample_rate):
        raise AudioError(
            f"{name}: {str(sample_rate)[:40]!r} is no sample rate; give {low:,} to {high:,} in Hz"
        )
    return int(sample_rate)


def check_type(samples, name: str = "samples") -> np.ndarray:
    """Samples as an array; AudioError unless it is [N] or [N, C] of floats, int16 or int32."""
    try:
        samples = np.asarray(samples)
    except (ValueError, TypeError):  # of lists that are no array
        samples = np.asarray(None)
    known = samples.dtype.kind == "f" or samples.dtype in (np.int16, np.int32)
    if samples.ndim not in (1, 2) or not known or samples.shape[1:] == (0,):
        raise AudioError(
            f"{name}: {samples.dtype} {samples.shape} is not audio; pass float or int16 [N] or "
            "[N, channels]"
        )
    return samples


def check(samples: np.ndarray, name: str, *, min_samples: int = 1):
    """Raises AudioError unless samples [N] are finite, audible and at least `min_samples`.

    The error begins with `name`, and is a SilenceError if silence is all that is wrong.
    """
    if len(samples) < max(1, min_samples):
        raise AudioError(
            f"{name}: {len(samples)} samples are too few, {min_samples} are needed; use a longer "
            "clip"
        )
    _check_values(samples, name)
    if peak(samples) < SILENCE:
        raise SilenceError(f"{name}: silent throughout; record it again or leave it out")


def _marking_last(blocks):
    """Each block, and whether none follows."""
    before = None
    for block in blocks:
        if before is not None:
            yield before, False
        before = block
    if before is not None:
        yield before, True


def _check_values(samples, name):
    if not peak(samples) <= LOUDEST:
        raise AudioError(
            f"{name}: holds NaN, infinite or huge samples; export it again as 16-bit WAV"
        )


def _mono(samples: np.ndarray, name: str = "samples") -> np.ndarray:
    """The mean of the channels, [N] or [N, channels] to [N].

    Of opposite ones, the first loud one alone.
    """
    if samples.ndim == 1 or samples.shape[1] == 1:
        return samples.reshape(len(samples))
    mean, power = samples.mean(axis=1), np.mean(np.square(samples), axis=0)
    if np.mean(np.square(mean)) >= OPPOSITE * np.mean(power) or power.max() < SILENCE**2:
        return mean
    if np.count_nonzero(power > OPPOSITE * power.max()) < 2:  # one channel of many has sound
        return mean
    warnings.warn(
        AudioWarning(f"{name}: its channels are opposite, and cancel out; one of them is used"),
        stacklevel=3,
    )
    return samples[:, (power > power.max() / 2).argmax()]


def _as_float32(samples) -> np.ndarray:
    """Samples [N] or [N, channels], floats in ±1 or 16- or 32-bit integers, as float32 in ±1."""
    samples = check_type(samples)
    if samples.dtype.kind == "i":
        return np.multiply(samples, 1 / (np.iinfo(samples.dtype).max + 1), dtype=np.float32)
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        return np.asarray(samples, np.float32)
