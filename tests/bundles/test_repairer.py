"""A repair bundle in use: what the network leaves alone comes back bit for bit, whatever the recording."""

import dataclasses
import functools
import itertools
import resource
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from helpers import repairers
from helpers.recordings import BAD, RATE, UNUSUAL, holds, tone

import lin_jax
from lin_jax import bundles
from lin_jax.audio import adaptive_mix, files
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.bundles import repairer
from lin_jax.errors import AudioError, ConfigError
from lin_jax.models.autoencoder import MelAutoencoder, SpectralAutoencoder


def noise(seconds, rate=RATE, channels=1, level=0.1, seed=0):
    """White noise [N, channels]."""
    return (
        np.random.default_rng(seed)
        .normal(0, level, (round(seconds * rate), channels))
        .astype(np.float32)
    )


def db(error, signal):
    """Level of an error, relative to a signal."""
    return 20 * np.log10(np.sqrt(np.mean(error**2) / np.mean(signal**2)) + 1e-10)


@pytest.fixture(scope="module")
def identity():
    return repairers.repairer()


@pytest.fixture(scope="module")
def gate():
    return repairers.repairer(repairers.Gate())


def test_saved_and_loaded_does_the_same(tmp_path, monkeypatch, gate):
    repairers.register(monkeypatch)
    again = lin_jax.load(bundles.save(tmp_path / "mended", gate, "# Mended\n"))
    assert isinstance(again, bundles.Repairer)
    samples = noise(1.0)[:, 0]
    np.testing.assert_array_equal(again.repair(samples, RATE), gate.repair(samples, RATE))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_left_alone_comes_back_as_it_was(identity, rate, channels):
    samples = noise(1.3, rate, channels)
    np.testing.assert_array_equal(identity.repair(samples, rate), samples)


@pytest.mark.parametrize(
    ("rate", "channels", "suffix", "subtype"),
    [
        (44100, 2, ".wav", "PCM_16"),
        (48000, 2, ".flac", "PCM_24"),
        (8000, 1, ".wav", "PCM_U8"),
        (96000, 2, ".wav", "PCM_32"),
        (16000, 1, ".wav", "FLOAT"),
        (16000, 3, ".aif", "PCM_S8"),
    ],
)
def test_file_left_alone_keeps_every_bit(tmp_path, identity, rate, channels, suffix, subtype):
    source, out = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    samples = np.clip(noise(0.7, rate, channels, level=0.5), -1, 1)  # full scale is reached
    soundfile.write(source, samples, rate, subtype=subtype, format={".aif": "AIFF"}.get(suffix))
    done = identity.repair_file(source, out)
    assert files.describe(out) == files.describe(source)
    before, after = (soundfile.read(path, dtype="float64")[0] for path in (source, out))
    np.testing.assert_allclose(after, before, rtol=0, atol=2.0**-24 if subtype == "PCM_32" else 0)
    assert (done.source, done.out, done.seconds) == (str(source), str(out), 0.7)
    assert (done.cut, done.lossy) == (0, False)
    assert done.format.endswith(subtype)
    assert done.before == done.after


@pytest.mark.parametrize(("suffix", "rate"), [(".mp3", 44100), (".ogg", 48000), (".opus", 48000)])
def test_lossy_file_stays_one_of_its_length(tmp_path, identity, suffix, rate):
    source, out = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    files.write(source, np.stack([tone(1.234, rate), tone(1.234, rate, 1000)], axis=1), rate)
    done = identity.repair_file(source, out)
    assert done.lossy
    assert files.describe(out) == files.describe(source)
    before, after = (files.read(path, mono=False)[0] for path in (source, out))
    assert db(after - before, before) < -20


@pytest.mark.parametrize(
    ("source", "subtype", "out", "written"),
    [
        ("a.mp3", None, "b.wav", "WAV PCM_16"),
        ("a.wav", "FLOAT", "b.flac", "FLAC PCM_24"),
        ("a.wav", "PCM_16", "b.mp3", "MP3 MPEG_LAYER_III"),
        ("a.flac", "PCM_24", "b.wav", "WAV PCM_24"),
    ],
)
def test_suffix_names_the_container(tmp_path, identity, source, subtype, out, written):
    soundfile.write(tmp_path / source, tone(), RATE, subtype=subtype)
    done = identity.repair_file(tmp_path / source, tmp_path / out)
    assert done.format == written
    info = files.describe(tmp_path / out)
    assert (f"{info.format} {info.subtype}", info.num_samples) == (written, RATE)


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (8000, 1), (44100, 2), (48000, 2)])
def test_chunks_are_the_whole(monkeypatch, rate, channels):
    """In windows of 2 s and at once: no seam is left above -60 dB, at any time."""
    samples = (
        noise(21.3, rate, channels) * np.abs(np.sin(np.arange(round(21.3 * rate)) / rate))[:, None]
    )
    samples = samples.astype(np.float32)
    monkeypatch.setattr(repairer, "LENGTHS", (2.0,))
    chunks = repairers.repairer(repairers.Gate()).repair(samples, rate)
    monkeypatch.setattr(repairer, "LENGTHS", (24.0,))
    whole = repairers.repairer(repairers.Gate()).repair(samples, rate)
    assert -30 < db(whole - samples, samples) < -3, "the gate did something"
    for piece in np.array_split(np.stack([chunks - whole, whole]), 100, axis=1):
        assert db(*piece) < -60


@pytest.mark.parametrize(
    "model",
    [
        SpectralAutoencoder(
            width=2, inner_width=2, outer=(), inner=(1,), bottleneck=1, hidden=4, middle=(1, 2)
        ),
        MelAutoencoder(widths=(8, 4)),
    ],
    ids=["spectral", "mel"],
)
def test_the_networks_that_are_trained_work_in_chunks(tmp_path, monkeypatch, model):
    """Saved and loaded, on a file at 22.05 kHz: what is repaired in windows is what is repaired whole."""
    init = functools.partial(model.init, train=False)
    shapes, rng = (
        jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, RATE))),
        np.random.default_rng(0),
    )
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)
    made = bundles.Repairer("mended", model, FrontendConfig(level="rms", level_db=-25.0), variables)
    folder, path = bundles.save(tmp_path / "mended", made, ""), tmp_path / "a.flac"
    soundfile.write(path, noise(3.7, 22050), 22050)
    outs = []
    for longest in (1.5, 4.0):
        monkeypatch.setattr(repairer, "LENGTHS", (longest,))
        done = lin_jax.load(folder).repair_file(path, tmp_path / "b.flac")
        assert files.describe(done.out) == files.describe(path)
        outs.append(files.read(done.out, mono=False)[0])
    before = files.read(path, mono=False)[0]
    assert db(outs[0] - before, before) > -20, "it did something"
    for piece in np.array_split(np.stack([outs[0] - outs[1], outs[1]]), 50, axis=1):
        assert db(*piece) < -60


def test_caution_makes_less_of_a_slight_change(tmp_path, monkeypatch):
    """All of a change of -6 dB, half of one of -40 dB, and in between by its decibels."""
    repairers.register(monkeypatch)
    careful, samples = bundles.AdaptiveMix(-30.0, -10.0, 0.5), noise(1.5)[:, 0]
    floor_db = 10 * np.log10(
        1 + 10 ** (adaptive_mix.FLOOR_DB / 10)
    )  # by which any change is slighter
    for change, share in ((0.5, 1.0), (0.1, 0.75 - 0.5 * floor_db / 20), (0.01, 0.5)):
        made = dataclasses.replace(
            repairers.repairer(repairers.Gain(1 - change)), adaptive_mix=careful
        )
        made = lin_jax.load(bundles.save(tmp_path / "mended", made, ""))
        np.testing.assert_allclose(
            made.repair(samples, RATE), samples * (1 - change * share), atol=1e-5
        )


def test_caution_is_the_same_in_chunks(monkeypatch):
    monkeypatch.setattr(adaptive_mix, "SECONDS", 0.3)
    samples, outs = noise(5.3)[:, 0] * np.repeat([1.0, 0.1, 0.01], [30000, 30000, 24800]), []
    for longest in (2.0, 6.0):
        monkeypatch.setattr(repairer, "LENGTHS", (longest,))
        made = dataclasses.replace(
            repairers.repairer(repairers.Gate()), adaptive_mix=bundles.AdaptiveMix(-20.0, -5.0, 0.2)
        )
        outs.append(made.repair(samples, RATE))
    assert db(outs[1] - samples, samples) > -30, "the gate did something"
    for piece in np.array_split(np.stack([outs[0] - outs[1], outs[1]]), 50, axis=1):
        assert db(*piece) < -60


def test_seams_are_seen_if_there_is_no_context(monkeypatch):
    """That the test before can fail: without context the seams are there."""
    samples = noise(21.3)[:, 0]
    monkeypatch.setattr(repairers.Gate, "context_seconds", 0.0)
    monkeypatch.setattr(repairer, "LENGTHS", (2.0,))
    chunks = repairers.repairer(repairers.Gate()).repair(samples, RATE)
    monkeypatch.setattr(repairer, "LENGTHS", (24.0,))
    whole = repairers.repairer(repairers.Gate()).repair(samples, RATE)
    assert (
        max(db(*piece) for piece in np.array_split(np.stack([chunks - whole, whole]), 100, axis=1))
        > -60
    )


def test_nothing_is_compiled_for_a_length(monkeypatch):
    monkeypatch.setattr(repairer, "LENGTHS", (0.25, 1.0))
    bundle = repairers.repairer(repairers.Gate())
    for N in (1, 2, 80, 999, 3999, 4000):
        assert len(bundle.repair(noise(1.0)[:N], RATE)) == N
    assert bundle._forward._cache_size() == 1
    for seconds, rate, channels in itertools.product((0.3, 1.1, 2.7, 9.9), (8000, 44100), (1, 2)):
        bundle.repair(noise(seconds, rate, channels), rate)
    assert bundle._forward._cache_size() <= 2 * len(bundles.BATCHES)


def test_a_few_clips_of_any_length_compile_once(tmp_path):
    bundle, pairs = repairers.repairer(repairers.Gate()), []
    for i, seconds in enumerate((1.0, 5.0, 0.2, 12.0)):
        pairs.append((tmp_path / f"{i}.wav", tmp_path / f"{i}.out.wav"))
        soundfile.write(pairs[-1][0], noise(seconds, seed=i), RATE)
    assert len(list(bundle.repair_files(pairs))) == 4
    assert bundle._forward._cache_size() == 1
    bundle.repair_file(*pairs[-1])
    assert bundle._forward._cache_size() == 1


def test_strength_mixes(gate):
    samples = noise(1.0, 48000, 2)
    full, half, none = (gate.repair(samples, 48000, strength) for strength in (1.0, 0.5, 0.0))
    np.testing.assert_array_equal(none, samples)
    np.testing.assert_allclose(half, (samples + full) / 2, atol=1e-6)
    assert db(full - samples, samples) > -30
    with pytest.raises(ConfigError, match="one from 0 to 1"):
        gate.repair(samples, 48000, 1.5)


def test_band_above_the_network_is_turned_down_as_its_top():
    """White noise at 48 kHz: a quarter as loud below 8 kHz is a quarter as loud above."""
    samples = noise(3.0, 48000)[:, 0]
    quarter = repairers.repairer(repairers.Gain(0.25)).repair(samples, 48000)
    assert db(quarter - 0.25 * samples, 0.25 * samples) < -40
    top = np.fft.rfft(quarter)[9000 * 3 :], np.fft.rfft(0.25 * samples)[9000 * 3 :]
    assert db(*(np.abs(x) for x in (top[0] - top[1], top[1]))) < -30


def test_band_above_the_network_goes_where_its_top_goes_and_stays_where_it_stays():
    samples = noise(3.0, 48000)[:, 0]
    gone = repairers.repairer(repairers.LowPass()).repair(samples, 48000)
    spectrum, was = (np.abs(np.fft.rfft(x))[9000 * 3 :] for x in (gone, samples))
    assert db(spectrum, was) < -25
    # Louder is no reason to lift what nobody heard.
    louder = repairers.repairer(repairers.Gain(2.0)).repair(samples, 48000)
    spectrum = np.abs(np.fft.rfft(louder))[9000 * 3 :]
    assert db(spectrum, was) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    "frontend", [{}, {"level": "rms", "level_db": -25.0}, {"level": "peak", "level_db": -3.0}]
)
@pytest.mark.parametrize("level", [1e-4, 0.1, 3.0, 1000.0])
def test_any_loudness_comes_back_as_loud(frontend, level):
    """The network hears nothing beyond full scale, and is never given anything there."""
    samples = np.clip(noise(1.0, channels=2, level=level), -3 * level, 3 * level)
    out = repairers.repairer(repairers.Gain(0.5), **frontend).repair(samples, RATE)
    np.testing.assert_allclose(out, 0.5 * samples, atol=1e-5 * level)


def test_offset_is_taken_away_and_small_ones_stay(identity):
    samples = noise(1.0, 44100, 2) * [1, 0.1]
    shifted = (samples + np.array([0.3, -0.2])).astype(np.float32)
    out = identity.repair(shifted, 44100)
    np.testing.assert_allclose(out, samples - samples.mean(axis=0), atol=1e-5)
    np.testing.assert_array_equal(identity.repair(shifted, 44100, strength=0.0), shifted)
    small = (samples + 5e-4).astype(np.float32)
    np.testing.assert_array_equal(identity.repair(small, 44100), small)


def test_integers_are_heard_as_samples(identity):
    samples = (noise(0.2, channels=2) * 32768).astype(np.int16)
    np.testing.assert_array_equal(identity.repair(samples, RATE), samples / np.float32(32768))


@pytest.mark.parametrize("rate", [8000, 16000, 96000])
@pytest.mark.parametrize("seconds", [0.0, 1e-6, 0.005])
def test_clip_of_no_length_to_speak_of(gate, seconds, rate):
    samples = noise(1.0, rate, 2)[: int(np.ceil(seconds * rate))]
    out = gate.repair(samples, rate)
    assert out.shape == samples.shape
    assert np.isfinite(out).all()


@pytest.mark.parametrize("value", [0.0, 0.25, 1e-8])
def test_silence_comes_back_as_it_is(value):
    samples = np.full((3 * 8000, 2), value, np.float32)
    np.testing.assert_array_equal(
        repairers.repairer(repairers.Gain(0.5)).repair(samples, 8000), samples
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_samples_that_are_none_are_refused(gate, value):
    samples = noise(3.0)
    samples[40000] = value
    with pytest.raises(AudioError, match="holds NaN, infinite or huge"):
        gate.repair(samples, RATE)
    with pytest.raises(AudioError, match="pass sample_rate="):
        gate.repair(noise(1.0), None)


def test_channels_that_are_the_same_are_heard_once(gate, monkeypatch):
    started = []
    start = repairer.Repairer._start
    monkeypatch.setattr(
        repairer.Repairer,
        "_start",
        lambda self, size, members: started.extend(members) or start(self, size, members),
    )
    mono = noise(1.0, 44100)
    out = gate.repair(np.repeat(mono, 2, axis=1), 44100)
    assert len(started) == 1
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    np.testing.assert_allclose(out[:, :1], gate.repair(mono, 44100), atol=1e-6)
    gate.repair(noise(1.0, 44100, 2), 44100)
    assert len(started) == 4


def test_many_files_together_are_as_each_alone(tmp_path, gate):
    pairs = []
    for i, seconds in enumerate((0.1, 1.5, 0.9, 17.0, 3.3, 0.2, 33.0, 1.1, 5.0)):
        pairs.append((tmp_path / f"{i}.wav", tmp_path / f"{i}.out.wav"))
        soundfile.write(
            pairs[-1][0],
            noise(seconds, (16000, 48000)[i % 2], 1 + i % 2, seed=i),
            (16000, 48000)[i % 2],
        )
    processed = []
    together = {done.source: done for done in gate.repair_files(pairs, progress=processed.append)}
    assert len(together) == len(pairs)
    assert sum(processed) == pytest.approx(62.1)
    for source, out in pairs:
        alone = gate.repair_file(source, tmp_path / "alone.wav")
        assert together[str(source)].after.rms == pytest.approx(alone.after.rms, rel=1e-4)
        np.testing.assert_allclose(
            files.read(out)[0], files.read(tmp_path / "alone.wav")[0], atol=1.5 / 32768
        )


def test_every_bad_recording_yields_its_error_and_the_rest_goes_on(tmp_path, identity):
    """Silence and single samples are none here: they come back."""
    makers = {name: make for name, (make, _) in BAD.items()} | UNUSUAL | {"good": holds(tone())}
    for name, make in makers.items():
        make(tmp_path / f"{name}.wav")
    (tmp_path / "out").mkdir()
    results = list(
        identity.repair_files(
            (tmp_path / f"{name}.wav", tmp_path / f"out/{name}.wav") for name in makers
        )
    )
    fine = {*UNUSUAL, "good", "one sample", "all zeros"}
    assert {done.source for done in results if isinstance(done, bundles.RepairResult)} == {
        str(tmp_path / f"{name}.wav") for name in fine
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{name}.wav" for name in fine}
    lines = sorted(str(done) for done in results if isinstance(done, AudioError))
    expected = {name: message for name, (_, message) in BAD.items() if name not in fine}
    assert len(lines) == len(expected)
    for line, (name, message) in zip(lines, sorted(expected.items()), strict=True):
        assert line.startswith(f"{tmp_path / name}.wav: ")
        assert message in line
    with pytest.raises(AudioError, match="no such file"):
        identity.repair_file(tmp_path / "missing.wav", tmp_path / "out/missing.wav")


@pytest.mark.parametrize("out", ["missing/b.wav", "file.wav/b.wav", "b.xyz", "b"])
def test_what_cannot_be_written_is_one_line(tmp_path, identity, out):
    files.write(tmp_path / "file.wav", tone(), RATE)
    with pytest.raises(
        AudioError, match=r"not written|its suffix names the format|no audio format"
    ) as caught:
        identity.repair_file(tmp_path / "file.wav", tmp_path / out)
    assert str(caught.value).startswith(str(tmp_path / out))
    assert [path.name for path in tmp_path.iterdir()] == ["file.wav"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_full_disk_leaves_what_was_there(tmp_path, identity, suffix):
    path = tmp_path / f"a{suffix}"
    files.write(path, noise(5.0), RATE)
    identity.repair_file(path, tmp_path / "compiled.wav")
    (tmp_path / "compiled.wav").unlink()
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(AudioError, match=r"not written .*free space"):
            identity.repair_file(path, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_stopped_half_way_leaves_what_was_there(tmp_path, identity):
    path = tmp_path / "a.wav"
    files.write(path, noise(40.0), RATE)
    before = path.read_bytes()

    def stop(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(identity.repair_files([(path, path)], progress=stop))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert identity.repair_file(path, path).seconds == 40.0
    assert path.read_bytes() == before


def test_samples_beyond_full_scale_stay_where_they_can_and_are_counted_where_not(
    tmp_path, identity
):
    soundfile.write(tmp_path / "loud.wav", 2 * tone(amplitude=1.0), RATE, subtype="FLOAT")
    done = identity.repair_file(tmp_path / "loud.wav", tmp_path / "b.wav")
    assert (done.cut, files.read(tmp_path / "b.wav")[0].max()) == (0, 2.0)
    done = identity.repair_file(tmp_path / "loud.wav", tmp_path / "b.flac")
    assert done.cut == pytest.approx(2 / 3, abs=0.01)
    assert files.read(tmp_path / "b.flac")[0].max() == pytest.approx(1, abs=1e-4)


def test_long_recording_takes_constant_memory(tmp_path, monkeypatch):
    """A small window and some minutes stand in for the real one and hours."""
    monkeypatch.setattr(repairer, "LENGTHS", (1.0,))
    bundle, path = repairers.repairer(), tmp_path / "long.wav"
    soundfile.write(path, noise(300.0, 8000, 2), 8000)
    bundle.repair_file(path, tmp_path / "out.wav")  # compiles
    tracemalloc.start()
    bundle.repair_file(path, tmp_path / "out.wav")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(files.read(tmp_path / "out.wav")[0], files.read(path)[0])
    assert peak < 6 * 2**20, "as samples the recording is 19 MB"
