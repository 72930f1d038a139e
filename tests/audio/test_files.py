"""Audio files: what is read is what was written, and everything else is one clear line."""

import errno
import os
import resource
import signal
import subprocess
import sys
import tracemalloc

import librosa
import numpy as np
import pytest
import soundfile
from helpers.recordings import BAD, RATE, tone, two_hours

from lin_jax.audio import files
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import AudioError, AudioWarning


@pytest.mark.parametrize(
    ("suffix", "tolerance"),
    [
        (".wav", 1e-4),
        (".flac", 1e-4),
        (".ogg", 0.05),
        (".opus", 0.05),
        (".mp3", 0.05),
        (".aif", 1e-4),
    ],
)
def test_every_format_comes_back(tmp_path, suffix, tolerance):
    path = tmp_path / f"a{suffix}"
    files.write(path, tone(), RATE)
    samples, rate = files.read(path)
    assert rate == RATE
    assert samples.dtype == np.float32
    assert samples.shape == (RATE,)
    assert files.duration(path) == pytest.approx(1.0)
    np.testing.assert_allclose(samples[2000:-2000], tone()[2000:-2000], atol=tolerance)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(192000, 8, "PCM_24"), (48000, 2, "FLOAT"), (8000, 1, "PCM_U8")],
)
def test_any_rate_and_channels_become_the_same_tone(tmp_path, rate, channels, subtype):
    path = tmp_path / "a.wav"
    # Channels of different loudness: their mean is the tone at half amplitude.
    weights = np.linspace(0, 2, channels) if channels > 1 else np.ones(1)
    soundfile.write(path, tone(rate=rate, amplitude=0.25)[:, None] * weights, rate, subtype=subtype)
    samples, _ = files.read(path, RATE)
    assert abs(len(samples) - RATE) <= 1
    np.testing.assert_allclose(samples[500:15500], tone(amplitude=0.25)[500:15500], atol=0.01)
    assert files.read(path, mono=False)[0].shape == (rate, channels)


def test_read_a_part(tmp_path):
    path = tmp_path / "a.flac"
    files.write(path, tone(2.0), RATE)
    whole, _ = files.read(path)
    part, _ = files.read(path, start=0.5, duration=0.25)
    np.testing.assert_array_equal(part, whole[8000:12000])
    with pytest.raises(AudioError, match=r"no samples at 3 s; the file is 2 s long"):
        files.read(path, start=3.0)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_stream_equals_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    files.write(path, np.stack([tone(3.0, 44100), 0.1 * tone(3.0, 44100, 1000)], axis=1), 44100)
    blocks = list(files.stream(path, RATE, block_seconds=0.4))
    assert {len(block) for block in blocks[:-1]} == {6400}
    np.testing.assert_allclose(np.concatenate(blocks), files.read(path, RATE)[0], atol=1e-6)


def test_two_hours_stream_in_constant_memory(tmp_path):
    path = tmp_path / "long.wav"
    count = two_hours(path)
    tracemalloc.start()
    total = 0
    for block in files.stream(path, RATE, block_seconds=10):
        total += len(block)
        last = block[-1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (total, last) == (count, 0.5)
    assert peak < 8 * 2**20


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_one_line_with_the_mend(tmp_path, name):
    make, message = BAD[name]
    path = tmp_path / "clip.audio"
    make(path)
    with pytest.raises(AudioError, match=message) as caught:
        files.load(path, FrontendConfig())
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert "; " in line
    if name not in ("one sample", "all zeros"):  # these are wrong for the front end, not as files
        with pytest.raises(AudioError, match=message):
            list(files.stream(path, RATE, block_seconds=0.1))


def test_wav_of_unknown_length_is_read_to_its_end(tmp_path):
    """Programs that write WAV to a pipe leave the largest number as its size."""
    path = tmp_path / "piped.wav"
    files.write(path, tone(), RATE)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    assert len(files.read(path)[0]) == RATE


def test_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.wav"
    files.write(path, tone(), RATE)
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(AudioError, match=r"a\.wav: not written .*free space"):
            files.write(path, tone(2.0), RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "samples", "message"),
    [
        ("a.xyz", tone(), "no such format"),
        ("a.wav", tone() * np.nan, "NaN"),
        ("missing/a.wav", tone(), "not written"),
        ("a.wav", np.zeros((2, 3, 4)), "is not audio"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, samples, message):
    with pytest.raises(AudioError, match=message):
        files.write(tmp_path / name, samples, RATE)
    assert list(tmp_path.iterdir()) == []


def test_find(tmp_path):
    with pytest.raises(AudioError, match="no such folder"):
        files.find(tmp_path / "missing")
    with pytest.raises(AudioError, match="no audio files"):
        files.find(tmp_path)
    for name in ("b/2.WAV", "b/1.flac", "a.mp3", "notes.txt", "b/._1.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = ["a.mp3", "b/1.flac", "b/2.WAV"]
    assert files.find(tmp_path) == [tmp_path / name for name in names]
    (tmp_path / "c").symlink_to(tmp_path / "b")
    (tmp_path / "b/back").symlink_to(tmp_path)
    assert files.find(tmp_path) == [tmp_path / name for name in (*names, "c/1.flac", "c/2.WAV")]


def test_a_folder_that_nobody_may_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "lost").mkdir()
    (tmp_path / "a.wav").touch()
    scandir = os.scandir

    def forbidden(path):
        if str(path).endswith("lost"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.warns(AudioWarning, match=r"lost: cannot be read \(Permission denied\), and pass"):
        assert files.find(tmp_path) == [tmp_path / "a.wav"]


def test_trim_silence_is_librosas():
    noise = np.random.default_rng(0).normal(0, 1, 40000)
    for start, stop, top_db in ((9000, 30000, 30.0), (0, 12345, 20.0), (39000, 40000, 60.0)):
        samples = (
            noise * np.where((np.arange(40000) >= start) & (np.arange(40000) < stop), 0.1, 1e-5)
        ).astype("f4")
        expected, _ = librosa.effects.trim(samples, top_db=top_db)
        np.testing.assert_array_equal(files.trim_silence(samples, top_db), expected)
        assert len(expected) < 40000
    np.testing.assert_array_equal(files.trim_silence(np.zeros(5000, "f4"), 30.0), np.zeros(5000))


def test_level():
    peak = files.level(tone(amplitude=0.01), target_db=-6.0, kind="peak")
    assert 20 * np.log10(np.abs(peak).max()) == pytest.approx(-6.0, abs=1e-3)
    rms = files.level(tone(amplitude=0.01), target_db=-20.0, kind="rms")
    assert 20 * np.log10(np.sqrt(np.mean(rms**2))) == pytest.approx(-20.0, abs=1e-3)
    assert not files.level(np.zeros(9, np.float32), target_db=0.0).any()


def test_load_is_the_same_from_file_and_from_samples(tmp_path):
    config = FrontendConfig(level="peak", level_db=-3.0)
    samples = np.concatenate([np.zeros(48000), tone(1.0, 48000), np.zeros(24000)]).astype(
        np.float32
    )
    stereo = np.round(np.stack([samples, samples], axis=1) * 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", stereo, 48000)
    loaded = files.load(tmp_path / "a.wav", config)
    np.testing.assert_array_equal(loaded, files.load(stereo, config, sample_rate=48000))
    assert RATE <= len(loaded) < 1.3 * RATE  # the silence is gone, but for the grain of the frames
    assert np.abs(loaded).max() == pytest.approx(10 ** (-3 / 20), rel=1e-3)
    faster = files.load(tmp_path / "a.wav", config, speed=1.25)
    np.testing.assert_array_equal(faster, files.load(stereo, config, sample_rate=60000))
    with pytest.raises(AudioError, match="pass sample_rate="):
        files.load(stereo, config)
    with pytest.raises(AudioError, match="too few"):
        files.load(tone()[:100], config, sample_rate=RATE)


def test_blocks_are_the_samples_as_they_are(tmp_path):
    path = tmp_path / "a.flac"
    stereo = np.stack([tone(1.1, 44100), tone(1.1, 44100, 1000)], axis=1)
    files.write(path, stereo, 44100)
    blocks = list(files.blocks(path, block_seconds=0.25))
    assert [len(block) for block in blocks] == [11025] * 4 + [4410]
    np.testing.assert_array_equal(np.concatenate(blocks), files.read(path, mono=False)[0])
    blocks = list(files.blocks(stereo[:, 0], 44100, block_seconds=0.5))
    assert [block.shape for block in blocks] == [(22050, 1), (22050, 1), (4410, 1)]
    stereo[30000] = np.nan
    with pytest.raises(AudioError, match="samples: holds NaN"):
        list(files.blocks(stereo, 44100, block_seconds=0.5))


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24)])
def test_integers_are_written_as_they_were_read(tmp_path, subtype, bits):
    every = np.linspace(-1, 1 - 2.0 ** (1 - bits), 4096).reshape(-1, 2)
    every = (np.rint(every * 2.0 ** (bits - 1)) / 2.0 ** (bits - 1)).astype(np.float32)
    info = files.Info(RATE, 2, 2048, "WAV", subtype)
    with files.writing(tmp_path / "a.wav", info) as writer:
        writer.write(every[:1000])
        writer.write(every[1000:])
    assert writer.cut == 0
    assert files.describe(tmp_path / "a.wav") == info
    np.testing.assert_array_equal(
        np.concatenate(list(files.blocks(tmp_path / "a.wav", block_seconds=1))), every
    )
    with files.writing(tmp_path / "a.wav", files.Info(RATE, 1, 3, "WAV", subtype)) as writer:
        writer.write(np.array([[1.5], [-2.0], [0.0]]))
    assert writer.cut == 2
    np.testing.assert_allclose(
        files.read(tmp_path / "a.wav")[0], [1, -1, 0], atol=2.0 ** (1 - bits)
    )


def test_a_file_that_ends_early_is_not_there(tmp_path):
    with (
        pytest.raises(AudioError, match="not written"),
        files.writing(tmp_path / "a.wav", files.Info(RATE, 1, 500, "WAV", "PCM_16")) as writer,
    ):
        writer.write(np.zeros((499, 1)))
    assert list(tmp_path.iterdir()) == []


def test_killed_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.wav"
    files.write(path, tone(), RATE)
    before = path.read_bytes()
    code = f"""
import os, signal
import numpy as np
from lin_jax.audio import files
with files.writing({str(path)!r}, files.Info({RATE}, 1, 99999, "WAV", "PCM_16")) as writer:
    writer.write(np.zeros((90000, 1), np.float32))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert files.find(tmp_path) == [path], "what the killed one left is not taken for a recording"


def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "a.wav", tmp_path / "b.wav"
    files.write(path, tone(), RATE)
    path.chmod(0o600)
    link.symlink_to(path)
    with files.writing(link, files.Info(RATE, 1, 10, "WAV", "PCM_16")) as writer:
        writer.write(np.zeros((10, 1)))
    assert link.is_symlink()
    assert files.describe(path).num_samples == 10
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("path", "like", "expected"),
    [
        ("a.wav", ("WAV", "PCM_U8"), ("WAV", "PCM_U8")),
        ("a.wav", ("WAVEX", "FLOAT"), ("WAVEX", "FLOAT")),
        ("a.WAV", ("MP3", "MPEG_LAYER_III"), ("WAV", "PCM_16")),
        ("a.flac", ("WAV", "DOUBLE"), ("FLAC", "PCM_24")),
        ("a.mp3", ("WAV", "PCM_24"), ("MP3", "MPEG_LAYER_III")),
        ("a.opus", ("OGG", "VORBIS"), ("OGG", "OPUS")),
        ("a.ogg", ("OGG", "OPUS"), ("OGG", "OPUS")),
        ("a.aif", ("AIFF", "PCM_24"), ("AIFF", "PCM_24")),
    ],
)
def test_encoding_is_kept_where_the_container_has_it(path, like, expected):
    info = files.Info(48000, 2, 7, *like)
    assert files.encoding(path, info) == files.Info(48000, 2, 7, *expected)
    with pytest.raises(AudioError, match=r"no audio format is called \.doc; use \.wav"):
        files.encoding("a.doc", info)


def test_rate_that_a_format_does_not_have_is_named(tmp_path):
    info = files.Info(96000, 2, 7, "MP3", "MPEG_LAYER_III")
    with (
        pytest.raises(AudioError, match=r"MP3 does not take 2 channels .* at 96000 Hz; use \.wav"),
        files.writing(tmp_path / "a.mp3", info),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
