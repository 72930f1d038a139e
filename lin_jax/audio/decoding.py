"""Decoding: any audio or video file as blocks of samples, to where its sound ends.

What a header says of length is a claim: it is read past, and what lacks is a warning. libsndfile decodes
what it knows exactly; FFmpeg, through PyAV, all else: MP3, AAC, WMA, AMR, Opus in WebM, video.
Shape letters: N samples, C channels. Samples are float32 with full scale ±1, or int16.
"""

import atexit
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator

import numpy as np

from lin_jax.errors import AudioError, AudioWarning

SAMPLE_RATES = (2_000, 768_000)  # Hz; what claims another is no sound, or work without end
MAX_CHANNELS = 64
MAX_PIPE_BYTES = 4 * 2**30
TOLERANCE_SECONDS, TOLERANCE_SHARE = 0.1, 0.01  # that a file may be shorter than it claims
GAP_SECONDS = 0.005
# Formats that state no length, only a bit rate from which it is estimated.
ESTIMATED = ("aac", "ac3", "amr", "mp3", "dts", "eac3", "loas")
SUBTYPES = {"s16": "PCM_16", "s16p": "PCM_16", "s32": "PCM_32", "s32p": "PCM_32", "u8": "PCM_U8"}


@dataclasses.dataclass(frozen=True)
class Info:
    """What an audio file is.

    Attributes:
        sample_rate: in Hz.
        channels: C.
        num_samples: N.
        format: of the container, as soundfile names it if it can; else as FFmpeg does.
        subtype: of the encoding, likewise.
        tags: title, artist and the like, by soundfile's names.
        lost_tags: names of what is kept in the file besides, and not read.
    """

    sample_rate: int
    channels: int
    num_samples: int
    format: str
    subtype: str
    tags: tuple[tuple[str, str], ...] = ()
    lost_tags: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.num_samples / self.sample_rate


class Source:
    """An open audio file.

    Attributes:
        name: what errors call it.
        sample_rate: in Hz.
        channels: C.
        format: see `Info`, as are `subtype`, `tags` and `lost_tags`.
        num_samples: N, where the header can be believed; else None.
    """

    name: str
    sample_rate: int
    channels: int
    format: str
    subtype: str
    num_samples: int | None = None
    tags: tuple[tuple[str, str], ...] = ()
    lost_tags: tuple[str, ...] = ()

    def blocks(self, size: int, start: int = 0, dtype: str = "float32") -> Iterator[np.ndarray]:
        """Blocks [at most `size`, C] from sample `start` to where the sound ends.

        Raises:
            AudioError: most of it is damaged, or much less is there than the file claims.
        """
        raise NotImplementedError

    def _check(self):
        low, high = SAMPLE_RATES
        if not low <= self.sample_rate <= high:
            raise AudioError(
                f"{self.name}: {self.sample_rate} Hz is no rate of sound; "
                f"give a recording of {low:,} to {high:,} Hz"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioError(f"{self.name}: {self.channels} channels; give 1 to {MAX_CHANNELS}")

    def _check_end(self, done: int, claimed: float | None):
        """Raises AudioError if much lacks of so many samples that are claimed."""
        if claimed and is_short(done / self.sample_rate, claimed / self.sample_rate):
            raise truncated(self.name, done / self.sample_rate, claimed / self.sample_rate)


class SoundFileSource(Source):
    """A file that libsndfile decodes."""

    def __init__(self, path, name: str, file):
        self._path, self._file, self.name = path, file, name
        self.sample_rate, self.channels = file.samplerate, file.channels
        self.format, self.subtype = file.format, file.subtype
        self._check()
        # libsndfile mends the size of a cut WAV and only logs it; programs that write to a pipe put
        # a huge size there, or none, which is no fault.
        sizes = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
        if sizes and int(sizes[2]) < int(sizes[1]) < 0x7FFF0000:
            bytes_per_second = max(1, int(sizes[2]) * self.sample_rate / max(file.frames, 1))
            seconds, claimed = file.frames / self.sample_rate, int(sizes[1]) / bytes_per_second
            if is_short(seconds, claimed):
                raise truncated(name, seconds, claimed)
        # A FLAC from a pipe has no length, and libsndfile a huge one.
        self.num_samples = file.frames if 0 < file.frames < 2**48 else None
        metadata = file.copy_metadata()
        self.tags = tuple((key, value) for key, value in metadata.items() if key != "software")
        self.lost_tags = ("bext",) if re.search(r"^bext", file.extra_info, re.MULTILINE) else ()

    def blocks(self, size, start=0, dtype="float32"):
        """See `Source`."""
        done, failed = 0, False
        try:
            # soundfile seeks after every read where it can; where inexact, that loses samples.
            self._file.seek(start)
            self._file.seekable = lambda: False
            while len(samples := self._file.read(size, dtype=dtype, always_2d=True)):
                done += len(samples)
                yield samples
        except RuntimeError:  # soundfile's LibsndfileError: FFmpeg passes over what is damaged
            failed = True
        if failed:
            with contextlib.closing(FFmpegSource(self._path, self.name)) as rest:
                yield from rest.blocks(size, start + done, dtype)
            return
        if self.num_samples:
            self._check_end(start + done, self.num_samples)

    def close(self):
        """Let go of the file."""
        self._file.close()


class FFmpegSource(Source):
    """A file that FFmpeg decodes, of any container, video as well."""

    def __init__(self, path, name: str):
        import av

        av.logging.set_level(av.logging.PANIC)  # what it would print of a file, errors say
        self.name = name
        try:
            self._container = av.open(os.fsencode(path).decode("utf-8", "surrogateescape"))
        except (av.FFmpegError, OSError, ValueError):
            raise AudioError(
                f"{name}: not readable as audio; copy it again, or convert it to WAV or FLAC"
            ) from None
        if not self._container.streams.audio:
            self.close()
            raise AudioError(f"{name}: holds no audio; choose another file")
        self._stream = stream = self._container.streams.audio[0]
        if stream.codec_context is None:
            self.close()
            raise AudioError(f"{name}: its encoding is not known; convert it to WAV or FLAC")
        self.sample_rate, self.channels = stream.rate or 0, stream.channels or 0
        self.format = self._container.format.name.partition(",")[0]
        self.subtype = SUBTYPES.get(stream.format.name if stream.format else "", "FLOAT")
        if stream.codec_context.name.startswith(("mp1", "mp2", "mp3")):
            self.format, self.subtype = "MP3", "MPEG_LAYER_III"
        elif self._container.format.name in ("wav", "flac", "caf", "aiff", "au"):
            self.format = self._container.format.name.upper()
        self._check()
        metadata = {**self._container.metadata, **stream.metadata}
        metadata = {key.lower(): value for key, value in metadata.items()}
        names = {"title", "artist", "album", "date", "comment", "genre", "copyright", "tracknumber"}
        self.tags = tuple((key, value) for key, value in metadata.items() if key in names)
        self._claimed = self._claimed_samples(path)

    def blocks(self, size, start=0, dtype="float32"):
        """See `Source`."""
        import av

        if (tracks := len(self._container.streams.audio)) > 1:
            message = f"{self.name}: holds {tracks} audio tracks; the first is used"
            warnings.warn(AudioWarning(message), stacklevel=1)
        layout = f"{self.channels} channels" if self._stream.layout.nb_channels == 0 else None
        resampler = av.AudioResampler(
            format="s16" if dtype == "int16" else "flt", layout=layout or self._stream.layout
        )
        pending, held, skip, done, lost = [], 0, start, 0, 0.0
        for frame in self._frames():
            if isinstance(frame, float):
                lost += frame
                continue
            if frame.layout.nb_channels != self.channels or frame.sample_rate != self.sample_rate:
                raise AudioError(
                    f"{self.name}: changes its rate or channels within; convert it to WAV"
                )
            frame.pts = None
            for piece in resampler.resample(frame):
                samples = piece.to_ndarray().reshape(-1, self.channels)
                done += len(samples)
                samples, skip = samples[skip:], max(0, skip - len(samples))
                if not len(samples):
                    continue
                pending.append(samples)
                held += len(samples)
                while held >= size:
                    joined = np.concatenate(pending)
                    yield joined[:size]
                    pending, held = [joined[size:]], held - size
        if held:
            yield np.concatenate(pending)
        if lost > max(done / self.sample_rate, TOLERANCE_SECONDS):
            raise AudioError(
                f"{self.name}: damaged, {lost:.1f} s of it cannot be decoded; copy it again"
            )
        self._check_end(done + round(lost * self.sample_rate), self._claimed)
        if lost:
            message = f"{self.name}: {lost:.2f} s are damaged, and left out"
            # From here, and not from wherever it is read, so that it is one warning.
            warnings.warn(AudioWarning(message), stacklevel=1)

    def close(self):
        """Let go of the file."""
        self._container.close()

    def _frames(self):
        """Decoded frames; of packets that cannot be decoded, their seconds as a float."""
        import av

        packets, end = self._container.demux(self._stream), None
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:  # the file breaks off
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.FFmpegError:
                yield float((packet.duration or 0) * (packet.time_base or 0)) or 0.02
                continue
            for frame in frames:
                # A frame of FLAC that does not fit its checksum is dropped, and leaves a gap.
                if self.format == "FLAC" and frame.time is not None:
                    if end is not None and frame.time - end > GAP_SECONDS:
                        yield frame.time - end
                    end = frame.time + frame.samples / frame.sample_rate
                yield frame

    def _claimed_samples(self, path) -> float | None:
        """How many samples the header claims, unless it only gives a bit rate."""
        if self._container.format.name in ESTIMATED and not (
            self.format == "MP3" and _has_xing_header(path)
        ):
            return None
        seconds = self._claimed_seconds()
        return seconds * self.sample_rate if seconds and seconds > 0 else None

    def _claimed_seconds(self) -> float | None:
        import av

        still = av.stream.Disposition.attached_pic  # the picture of a cover
        streams = [s for s in self._container.streams if not s.disposition & still]
        if len(streams) == 1:
            return (self._container.duration or 0) / 1e6
        # The container lasts as long as its longest stream; Matroska does not tell of the others.
        duration, unit = self._stream.duration, self._stream.time_base
        return float(duration * unit) if duration and unit else None


@contextlib.contextmanager
def opened(path) -> Iterator[Source]:
    """An audio file, opened by whatever decodes it.

    Args:
        path: of a file, a pipe, or "-" for standard input; its content and not its suffix tells
            what it is.

    Raises:
        AudioError: it is missing, empty, not audio, seen to be cut short, or its header claims a
            rate or number of channels that no sound has.
    """
    import soundfile

    name = "standard input" if str(path) == "-" else str(path)
    path = local(path)
    try:
        is_mpeg = _is_mpeg(path)
    except OSError as error:
        raise AudioError(
            f"{name}: cannot be read ({error.strerror}); check its permissions and its disk"
        ) from None
    if not os.path.getsize(path):
        raise AudioError(f"{name}: empty file; copy or record it again")
    file = None
    # By content; but what is called .mp3 and begins as nothing does, libsndfile takes for it, too.
    if not is_mpeg and not path.lower().endswith(".mp3"):
        with contextlib.suppress(RuntimeError):
            file = soundfile.SoundFile(os.fsencode(path))  # a name may be in any encoding
    if file is not None and not file.frames:
        file.close()
        file = None
    try:
        source = SoundFileSource(path, name, file) if file else FFmpegSource(path, name)
    except AudioError:
        if file:
            file.close()
        raise
    with contextlib.closing(source):
        yield source


def describe(path) -> Info:
    """What an audio file is.

    Where its header does not tell its length, it is decoded once to count.

    Raises:
        AudioError: as for `opened`, or there are no samples in it.
    """
    resolved = local(path)
    status = os.stat(resolved)
    return _describe(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _describe(path, *_) -> Info:
    with opened(path) as source:
        count = source.num_samples
        if count is None:
            count = sum(map(len, source.blocks(1 << 16, dtype="int16")))
        if not count:
            raise AudioError(f"{source.name}: no samples; record it again or leave it out")
        kind = source.format, source.subtype, source.tags, source.lost_tags
        return Info(source.sample_rate, source.channels, count, *kind)


def local(path) -> str:
    """The path of a file with the content of a path: itself, or for a pipe or "-" a temporary copy.

    Raises:
        AudioError: there is no such file, or it never ends.
    """
    if str(path) == "-":
        return _copied("-")
    try:
        mode = os.stat(os.fspath(path)).st_mode
    except (OSError, ValueError, TypeError):
        name = " ".join(str(path).split())[:200]
        raise AudioError(f"{name}: no such file; check the path") from None
    if stat.S_ISREG(mode):
        return os.fspath(path)
    if stat.S_ISFIFO(mode):
        return _copied(os.fspath(path))
    raise AudioError(f"{path}: a folder or device where a recording is needed; check the path")


@functools.cache
def _copied(path: str) -> str:
    """What comes out of a pipe, which can be read once, as a file.

    It is there until the process ends.
    """
    descriptor, copy = tempfile.mkstemp(prefix="lin_jax-")
    atexit.register(pathlib.Path(copy).unlink, missing_ok=True)
    try:
        with (
            contextlib.nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as pipe,
            os.fdopen(descriptor, "wb") as file,
        ):
            while chunk := pipe.read(1 << 20):
                file.write(chunk)
                if file.tell() > MAX_PIPE_BYTES:
                    raise AudioError(f"{path}: more than 4 GiB from a pipe; give a file")
    except OSError as error:
        os.truncate(copy, 0)
        raise AudioError(
            f"{path}: cannot be kept in {tempfile.gettempdir()} ({error.strerror}); free space, or "
            "give a file"
        ) from None
    return copy


def is_short(seconds: float, claimed: float) -> bool:
    """Whether so many seconds are much less than a file claims to have."""
    return claimed - seconds > max(TOLERANCE_SECONDS, TOLERANCE_SHARE * claimed)


def truncated(name, seconds: float, claimed: float) -> AudioError:
    """The error of a file that is shorter than it claims."""
    return AudioError(f"{name}: truncated at {seconds:.2f} of {claimed:.2f} s; copy it again")


def _head(path, size: int = 1 << 12) -> bytes:
    """The first bytes of a file, after an ID3v2 tag."""
    with open(path, "rb") as file:
        head = file.read(10)
        skip = 0
        if head[:3] == b"ID3" and len(head) == 10:
            skip = 10 + sum(
                (byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
            )
        file.seek(skip)
        return file.read(size)


def _is_mpeg(path) -> bool:
    """Whether a file is MPEG audio by its first frame, whatever it is called.

    libsndfile would read it as well, but prints what it finds wrong.
    """
    head = _head(path)
    start = next((i for i, byte in enumerate(head[:512]) if byte), 0)  # padding after the tag
    head = head[start : start + 4]
    return len(head) == 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0


def _has_xing_header(path) -> bool:
    """Whether an MP3 states how many frames it has."""
    head = _head(path)
    return b"Xing" in head or b"Info" in head or b"VBRI" in head
