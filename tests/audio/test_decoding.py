"""Decoding: every format people have, to where its sound ends, and no header is believed."""

import os
import struct
import threading
import warnings

import av
import numpy as np
import pytest
import soundfile
from helpers.recordings import RATE, encode, tone

from lin_jax.audio import decoding, files
from lin_jax.errors import AudioError, AudioWarning

CONTAINERS = {  # suffix: encoder, rate, and the seconds that an encoder may add
    ".m4a": ("aac", RATE, 0.1),
    ".mp4": ("aac", RATE, 0.1),
    ".webm": ("libopus", 48000, 0.02),
    ".mka": ("ac3", 32000, 0.1),
    ".wma": ("wmav2", 44100, 0.1),
    ".ac3": ("ac3", 32000, 0.1),
    ".mp2": ("mp2", RATE, 0.1),
    ".caf": ("pcm_s16le", RATE, 0.0),
}


def wav(samples, *, rate=RATE, size=None):
    """A WAV of 16 bits whose header claims a rate and a size in bytes."""
    data = (samples * 32767).astype("<i2").tobytes()
    head = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    size = len(data) if size is None else size
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_formats_of_phones_and_browsers(tmp_path, suffix):
    """By content: the name says something else."""
    codec, rate, extra = CONTAINERS[suffix]
    encode(tmp_path / f"a{suffix}", tone(1.0, rate), rate, codec)
    path = (tmp_path / f"a{suffix}").rename(tmp_path / "clip.wav")
    samples, source_rate = files.read(path)
    assert source_rate == rate
    assert len(samples) / rate == pytest.approx(1.0, abs=extra + 1e-9)
    assert len(samples) == files.describe(path).num_samples
    together = np.concatenate(list(files.blocks(path, block_seconds=0.1)))[:, 0]
    np.testing.assert_allclose(together, samples, atol=1e-4)
    spectrum = np.abs(np.fft.rfft(samples[rate // 4 : rate // 2 + rate // 4]))
    assert spectrum.argmax() * 2 == pytest.approx(440, abs=4)


def test_browser_recording_without_a_length(tmp_path):
    path = tmp_path / "a.webm"
    encode(path, tone(1.0, 48000), 48000, "libopus", {"live": "1"})
    assert files.duration(path) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("bitrate_mode", ["CONSTANT", "VARIABLE"])
def test_mp3_without_a_header_is_read_to_its_end(tmp_path, bitrate_mode):
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(3.0), RATE, bitrate_mode=bitrate_mode, compression_level=0.4)
    data = path.read_bytes()
    mark = max(data.find(b"Info", 0, 600), data.find(b"Xing", 0, 600))
    start = next(k for k in range(mark, 3000) if data[k : k + 2] == data[:2])
    path.write_bytes(b"ID3\x03\0\0" + bytes([0, 2, 0, 0]) + bytes(2 << 14) + data[start:])
    samples, _ = files.read(path)
    assert len(samples) / RATE == pytest.approx(3.1, abs=0.05)
    assert np.abs(samples[2 * RATE :]).max() > 0.3


def test_flac_of_unknown_length(tmp_path):
    path = tmp_path / "a.flac"
    files.write(path, tone(), RATE)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert len(files.read(path)[0]) == files.describe(path).num_samples == RATE
    assert sum(map(len, files.stream(path, RATE, block_seconds=0.3))) == RATE


@pytest.mark.parametrize(
    ("size", "count"),
    [(2 * RATE + 36, RATE), (0, RATE), (2 * RATE - 1, RATE - 1), (2**32 - 1, RATE)],
)
def test_sizes_that_are_a_little_off(tmp_path, size, count):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(tone(), size=size))
    assert len(files.read(path)[0]) == pytest.approx(count, abs=1)


@pytest.mark.parametrize("rate", [1, 2, 1999, 800_000, 2_000_000_000])
def test_impossible_rates_are_refused_at_once(tmp_path, rate):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(tone(60.0), rate=rate)[: 2 * 60 * RATE])
    for read in (files.read, files.describe):
        with pytest.raises(AudioError, match=r"is no rate of sound|not readable"):
            read(path)


def test_too_many_channels(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((100, 65)), RATE)
    with pytest.raises(AudioError, match="65 channels; give 1 to 64"):
        files.read(path)


def test_opposite_channels(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([tone(), -tone()], axis=1), RATE)
    with pytest.warns(AudioWarning, match="opposite, and cancel out"):
        np.testing.assert_allclose(files.read(path)[0], tone(), atol=1e-4)
    with pytest.warns(AudioWarning, match="opposite"):
        blocks = list(files.stream(path, RATE, block_seconds=0.5))
    np.testing.assert_allclose(np.concatenate(blocks), tone(), atol=1e-4)
    soundfile.write(path, np.stack([tone(), 0 * tone()], axis=1), RATE)
    np.testing.assert_allclose(files.read(path)[0], tone() / 2, atol=1e-4)


@pytest.mark.parametrize("suffix", [".mp3", ".flac"])
def test_a_damaged_stretch_costs_that_stretch(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    files.write(path, np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32), RATE)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(data)
    with pytest.warns(AudioWarning, match=r"a\.\w+: [01]\.\d\d s are damaged, and left out$"):
        samples, _ = files.read(path)
    assert 18.9 < len(samples) / RATE < 20
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        files.read(path)
        list(files.blocks(path, block_seconds=1.0))
    assert len(caught) == 1
    with pytest.warns(AudioWarning, match="damaged"):
        assert sum(map(len, files.stream(path, RATE, block_seconds=1.0))) == len(samples)


def test_truncated_container(tmp_path):
    path = tmp_path / "a.mka"
    encode(path, np.random.default_rng(0).normal(0, 0.1, 3 * 32000), 32000, "ac3")
    path.write_bytes(path.read_bytes()[: os.path.getsize(path) // 2])
    with pytest.raises(AudioError, match=r"truncated at 1\.\d+ of 3\.0\d s; copy it again"):
        files.read(path)


def test_unknown_encoding(tmp_path):
    """A 64-bit wave whose encoding is none that anybody knows."""
    soundfile.write(tmp_path / "a.w64", tone(0.1), RATE)
    data = bytearray((tmp_path / "a.w64").read_bytes())
    place = data.index(b"fmt ") + 24  # after its identifier and size
    data[place : place + 2] = b"\xee\x77"
    (tmp_path / "a.w64").write_bytes(data)
    with pytest.raises(AudioError, match=r"a\.w64: its encoding is not known; convert"):
        files.read(tmp_path / "a.w64")


def test_no_sound_in_a_container(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.raises(AudioError, match="holds no audio"):
        files.read(path)


def test_pipes_are_read(tmp_path):
    wave, path = tmp_path / "a.flac", tmp_path / "pipe"
    files.write(wave, tone(), RATE)
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(wave.read_bytes()))
    writer.start()
    assert files.duration(path) == 1.0
    np.testing.assert_array_equal(files.read(path)[0], files.read(wave)[0])
    writer.join()


def test_standard_input(tmp_path, monkeypatch):
    files.write(tmp_path / "a.wav", tone(), RATE)
    decoding._copied.cache_clear()
    with open(tmp_path / "a.wav", "rb") as file:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": file}))
        assert len(files.read("-")[0]) == RATE
    decoding._copied.cache_clear()


def test_devices_are_refused():
    with pytest.raises(AudioError, match="a folder or device"):
        files.read("/dev/zero")


def test_tags_and_codecs_of_what_is_written(tmp_path):
    path, out = tmp_path / "a.flac", tmp_path / "b.flac"
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        file.title, file.artist, file.date, file.comment = "Interview", "A B", "2020", "room 3"
        file.write(tone())
    info = files.describe(path)
    with files.writing(out, files.encoding(out, info)) as writer:
        writer.write(tone()[:, None])
    assert files.describe(out).tags == info.tags
    assert dict(info.tags)["comment"] == "room 3"
    soundfile.write(tmp_path / "adpcm.wav", tone(), RATE, subtype="IMA_ADPCM")
    info = files.describe(tmp_path / "adpcm.wav")
    with pytest.warns(AudioWarning, match="written as PCM_16, since IMA_ADPCM cannot be"):
        assert files.encoding(tmp_path / "b.wav", info).subtype == "PCM_16"


def test_lengths_are_counted_once(tmp_path, monkeypatch):
    path = tmp_path / "a.mp3"
    files.write(path, tone(), RATE)
    assert files.duration(path) == 1.0
    monkeypatch.setattr(decoding, "opened", None)
    assert files.duration(path) == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert files.describe(path).seconds == 1.0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_may_go_on_without_sound(tmp_path, suffix):
    """It is no cut recording; and which of several tracks is meant nobody knows."""
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width = video.height = 16
        tracks = [container.add_stream("aac", rate=RATE, layout="mono") for _ in range(2)]
        for place in range(30):
            image = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
            image.pts = place
            container.mux(video.encode(image))
        for track, seconds in zip(tracks, (1, 2), strict=True):
            sound = av.AudioFrame.from_ndarray(tone(seconds)[None], "fltp", "mono")
            sound.sample_rate = RATE
            container.mux([*track.encode(sound), *track.encode()])
        container.mux(video.encode())
    with pytest.warns(AudioWarning, match=r"holds 2 audio tracks; the first is used"):
        samples, _ = files.read(path)
    assert len(samples) / RATE == pytest.approx(1.0, abs=0.15)
