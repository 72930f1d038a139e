"""Exported bundles: what the loader gives is what the live bundle gives, of any length and batch."""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import synthesizers, verifiers
from helpers.synthesizers import TABLE, M
from helpers.tiny import drawn

import lin_jax
from lin_jax import bundles
from lin_jax.apps import cli
from lin_jax.audio import diagnosis, files, levels, watermark
from lin_jax.audio.frontend import extract
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.bundles import exported, exporting, synthesizer
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.errors import ConfigError
from lin_jax.models.acoustic import PROSODY, AcousticModel
from lin_jax.models.autoencoder import SpectralAutoencoder
from lin_jax.models.enhancer import CausalEnhancer
from lin_jax.models.residual_classifier import DenseResidualClassifier, ResidualClassifier
from lin_jax.models.speaker_encoder import SmallSpeakerEncoder, SpeakerEncoder
from lin_jax.models.tacotron import Tacotron
from lin_jax.models.vocos import Vocos
from lin_jax.vectors import unit_vectors

RATE = 16000
LABELS = ("female", "male", "no speech")
FRONTEND = FrontendConfig(
    n_mels=8, n_mfcc=4, n_fft=128, win_length=128, hop_length=128, level="rms", level_db=-25.0
)
SIZES = ((1, 9000), (3, 14321))  # of batches, and samples of each clip
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def batch(B, N):
    """Noise that swells [B, N], and lengths [B]."""
    rng = np.random.default_rng(B)
    swell = np.abs(np.sin(np.arange(N) / 1000))
    length = np.array([N - 701 * number for number in range(B)], np.int32)
    return (rng.normal(0, 0.1, (B, N)) * swell).astype(np.float32), length


def clips(waveform, length):
    """The valid samples of each."""
    return [row[:count] for row, count in zip(waveform, length, strict=True)]


def network(model, frontend=FRONTEND):
    """Its variables, drawn."""
    features = np.zeros((1, 32, frontend.num_features), np.float32)
    return drawn(functools.partial(model.init, train=False), features, np.array([32]))


def classifier(gate="") -> bundles.Classifier:
    """Two members with views of each clip, and a second network."""

    def build(model, frontend, members, **settings):
        variables = network(model, frontend)
        D = frontend.num_features
        mean, std = np.zeros(D, np.float32) - 20, np.full(D, 30.0, np.float32)
        if members > 1:
            variables, mean, std = jax.tree.map(
                lambda leaf: np.stack([leaf, leaf * 1.1]), (variables, mean, std)
            )
        return bundles.Classifier(
            "who", model, frontend, variables, mean, std, LABELS, members=members, **settings
        )

    views = {"tempo": 0.06, "frequency": 0.05, "mean_removal": True}
    first = build(
        ResidualClassifier(3, (4, 6), (0, 1), 8), FRONTEND, 2, tta=views, speech_gate=gate
    )
    return first.fuse(
        build(DenseResidualClassifier(3, 8), FRONTEND, 1, tta={"speeds": [0.8, 1.0, 1.25]})
    )


def verifier(model, speeds=(1.0,), **settings) -> bundles.Verifier:
    """A bundle with random weights."""
    E, D = model.embedding * len(speeds), FRONTEND.num_features
    rng = np.random.default_rng(0)
    cohorts = rng.normal(size=(2, 9, E))
    plda = {
        "plda_mean": rng.normal(size=E) / 9,
        "plda_axes": rng.normal(size=(E, 3)),
        "plda_between": np.array([3.0, 2.0, 1.0]),
        "cohort": unit_vectors(cohorts[0]),
        "narrow_cohort": unit_vectors(cohorts[1]),
    }
    calibration = {"threshold": 0.3, "slope": 2.0, "offset": -1.0, "speech_bias": 0.5}
    return bundles.Verifier(
        "speaker",
        model,
        FRONTEND,
        network(model),
        np.full(D, -20.0),
        np.full(D, 30.0),
        rng.normal(size=E),
        speeds=speeds,
        top=4,
        **calibration | plda | settings,
    )


def load(bundle, folder) -> exported.Exported:
    """The bundle, exported and loaded."""
    return exported.load(exporting.export(bundle, folder / bundle.name))


def test_classifier(tmp_path, monkeypatch):
    gate = classifier()
    gate.no_speech = "no speech"
    bundle = classifier(gate="gender")
    monkeypatch.setattr(bundle, "load", lambda name: gate, raising=False)
    loaded = load(bundle, tmp_path)
    for B, N in SIZES:
        waveform, length = batch(B, N)
        outputs = loaded("classify", waveform=waveform, length=length)
        windows = bundle._batch(clips(waveform, length))
        live = bundle._classify(windows)[:B]
        np.testing.assert_allclose(outputs["probabilities"], live, **CLOSE)
        of_gate = gate._classify(windows)[:B, LABELS.index("no speech")]
        np.testing.assert_allclose(outputs["no_speech"], of_gate, **CLOSE)


def test_verifier(tmp_path):
    fused = verifier(SmallSpeakerEncoder((4, 4), 8, 6))
    encoder = SpeakerEncoder((4, 6), (0, 1), 8, 5)
    bundle = verifier(encoder, (0.9, 1.1), fused=fused, fusion_weight=0.3)
    loaded = load(bundle, tmp_path)
    meter = (tmp_path / "speaker" / "diagnosis.py").read_text()
    assert "\nfrom levels import SILENCE\n" in meter
    assert "from lin_jax" not in meter
    for B, N in SIZES:
        waveform, length = batch(B, N)
        voices = bundle._all(clips(waveform, length), RATE)
        levelled = [bundle._read(clip, RATE).windows[0] for clip in clips(waveform, length)]
        padded = np.zeros((B, N), np.float32)
        for row, window in zip(padded, levelled, strict=True):
            row[: len(window)] = window
        outputs = loaded("embed", waveform=padded, length=[len(window) for window in levelled])
        live = [voice.embedding for voice in voices]
        np.testing.assert_allclose(outputs["embedding"], live, **CLOSE)
        np.testing.assert_allclose(outputs["speech"], [voice.speech for voice in voices], atol=1e-4)
        stranger = np.float32(bundle.embed(batch(2, 12000)[0][1], RATE))
        narrow = np.arange(B) % 2 == 0
        compared = loaded("compare", first=live, second=np.tile(stranger, (B, 1)), narrow=narrow)
        pairs = [(number, B) for number in range(B)]
        scores = bundle.backend.scores(np.stack([*live, stranger]), pairs, [*narrow, False])
        np.testing.assert_allclose(compared["normalised_score"], scores, atol=1e-3)
        cosines = np.stack(live) @ stranger
        np.testing.assert_allclose(compared["score"], cosines, atol=1e-5)
        likely = 1 / (1 + np.exp(1.0 - 2.0 * scores))
        np.testing.assert_allclose(compared["probability"], likely, atol=1e-3)


def test_functionals_of_any_length():
    """They are traced, which takes no compiling: every shape in them is a formula of the length."""
    config = FrontendConfig(**(FRONTEND.to_dict() | {"feature": "functionals", "n_fft": 512}))
    shape = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, n"), np.float32)
    features, _ = jax.export.export(jax.jit(functools.partial(extract, config)))(shape).out_avals
    assert str(features.shape) == f"(b, 1, {config.num_features})"


@pytest.mark.parametrize(
    ("model", "mix"),
    [
        (
            SpectralAutoencoder(
                RATE, 64, 32, ((4, 4), (2, 8)), 4, 4, (1,), (1,), 4, 8, (1, 2), shifts=2
            ),
            bundles.AdaptiveMix(-22.0, -12.0, 0.2),
        ),
        (CausalEnhancer(RATE, 64, 20, ((4, 4), (2, 8)), 4, 2, 8, 1), None),
    ],
)
def test_repairer(tmp_path, model, mix):
    variables = drawn(model.init, np.zeros((1, 640), np.float32))
    kind = bundles.Repairer.kind_for(model)
    bundle = kind("repair", model, FRONTEND, variables, mix)
    loaded = load(bundle, tmp_path)
    for B, N in SIZES:
        waveform, length = batch(B, N)
        outputs = loaded("repair", waveform=waveform, length=length)
        live, _ = bundle._forward(bundle._variables, waveform, length)
        assert not np.allclose(live, waveform, atol=1e-3)
        np.testing.assert_allclose(outputs["repaired"], live, **CLOSE)


def test_vocoder(tmp_path):
    model = Vocos(512, 2, 8, 8, 1)
    inputs = np.zeros((1, 8, M), np.float32), np.ones((1, 8), bool)
    griffin_lim = synthesizers.vocoder()
    bundle = bundles.Vocoder(
        "sound", model, griffin_lim.frontend, drawn(model.init, *inputs), np.zeros(M), np.ones(M)
    )
    for number, vocoder in enumerate((griffin_lim, bundle)):
        loaded = load(vocoder, tmp_path / str(number))
        for B, T in ((1, 20), (3, 33)):
            features = np.random.default_rng(T).normal(-40, 10, (B, T, M)).astype(np.float32)
            frames = np.arange(T - B + 1, T + 1, dtype=np.int32)
            outputs = loaded("vocode", features=features, num_frames=frames)
            live = jax.jit(vocoder.vocode)(vocoder.constants, features, frames)
            for name, array in zip(("waveform", "length"), live, strict=True):
                np.testing.assert_allclose(outputs[name], array, **CLOSE)


def test_synthesizer_of_attention(tmp_path):
    base = synthesizers.synthesizer()
    model = Tacotron(M, len(TABLE), 0, 2, 2, 4, 8, 4, 8, (8, 4), (4,))
    E = base.voices.shape[1]
    frames = np.zeros((1, 8, M), np.float32), np.array([8])
    voice = np.zeros((1, E), np.float32)
    sources = (np.zeros((1, 8), np.int32), np.zeros((1, 8, base.source_mfcc), np.float32))
    init, params = functools.partial(model.init, train=False), {}
    for source in sources:
        variables = drawn(init, source, np.array([8]), voice, *frames)
        params |= variables["params"]
    bundle = synthesizers.synthesizer(max_seconds=0.5)
    bundle.model, bundle.variables = model, {"params": params}
    loaded = load(bundle, tmp_path)
    for B, L, N in ((1, 6, 9000), (3, 11, 14321)):
        voice = {name: np.repeat(array[:1], B, axis=0) for name, array in loaded.arrays.items()}
        symbols = np.random.default_rng(L).integers(1, 9, (B, L)).astype(np.int32)
        counts = np.arange(L - B + 1, L + 1, dtype=np.int32)
        waveform, length = batch(B, N)
        spoken = loaded("speak", symbols=symbols, num_symbols=counts, **voice)
        converted = loaded("convert", waveform=waveform, length=length, **voice)
        for outputs, inputs in ((spoken, (symbols, counts)), (converted, (waveform, length))):
            live = bundle._say(bundle._constants, *inputs, *voice.values())
            names = "features", "num_frames", "stopped", "skipped", "repeated"
            for name, expected in zip(names, live, strict=True):
                np.testing.assert_allclose(outputs[name], expected, atol=1e-3)


def test_synthesizer_by_durations_is_marked(tmp_path):
    base = synthesizers.synthesizer(sources=("text",))
    model = AcousticModel(M, len(TABLE), 8, 8, 4, 16, 12, (1, 2), dropout=0.0, content_dilations=())
    E = base.voices.shape[1]
    inputs = (
        np.zeros((1, 8), np.int32),
        np.array([8]),
        np.zeros((1, E), np.float32),
        np.full((1, 8), 2),
        np.zeros((1, 8, 3), np.float32),
        np.zeros((1, 8, PROSODY), np.float32),
        np.zeros((1, 16, M), np.float32),
        np.zeros(1),
        np.ones(1),
    )
    settings = {"names": base.names, "sexes": base.sexes, "table": TABLE}
    variables = drawn(model.init, *inputs)
    bundle = FlowSynthesizer(
        "flow", model, base.frontend, variables, base.mean, base.std, base.voices, **settings
    )
    loaded = load(bundle, tmp_path)
    assert "convert" not in loaded.description["functions"], "this one has learnt texts alone"
    for B, L in ((1, 6), (3, 11)):
        symbols = np.random.default_rng(L).integers(1, 9, (B, L)).astype(np.int32)
        counts = np.arange(L - B + 1, L + 1, dtype=np.int32)
        voice = np.repeat(loaded.arrays["voice"][:1], B, axis=0)
        read = symbols, counts, voice, np.float32(1.0)
        names = "symbols", "num_symbols", "voice", "speed"
        predicted = loaded("predict_durations", **dict(zip(names, read, strict=True)))
        durations, encoded, features = bundle._durations(bundle._constants, *read)
        np.testing.assert_array_equal(predicted["durations"], durations)
        T = int(predicted["durations"].sum(axis=1).max()) + 5
        noise = jax.random.normal(jax.random.key(7), (B, T, M))
        frames = loaded("draw_frames", noise=noise, **predicted)
        inputs = encoded, features, durations, np.int32(7)
        live, num_frames = bundle._draw(bundle._constants, *inputs, max_frames=T)
        np.testing.assert_allclose(frames["features"], live, atol=1e-3)
        sound = loaded("vocode", **frames)
        plain = jax.jit(bundle.functions()["vocode"].call)(**frames)
        for made, clip, count in zip(
            sound["waveform"], plain["waveform"], plain["length"], strict=True
        ):
            marked = watermark.mark(np.asarray(clip)[:count], RATE)
            np.testing.assert_allclose(made[:count], marked, atol=1e-4)
        np.testing.assert_array_equal(frames["num_frames"], num_frames)


def prepared(bundle, source):
    """Samples as README.md of an export wants them, and a batch of them."""
    settings = bundle.frontend
    samples = levels.trim_silence(source, settings.trim_db)
    samples = levels.level(samples, target_db=settings.level_db, kind=settings.level)
    return samples, {"waveform": samples[None], "length": [len(samples)]}


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Gives by name the bundle that ships, and what its export loads as, here for CPUs alone."""
    monkeypatch.setattr(exporting, "PLATFORMS", ("cpu",))

    def ship(name):
        return lin_jax.load(name), load(lin_jax.load(name), tmp_path)

    return ship


def test_emotion_as_it_ships(ship):
    live, loaded = ship("emotion")
    samples, inputs = prepared(live, verifiers.voice(0, 2.5))
    outputs = loaded("classify", **inputs)
    answer = dataclasses.replace(live, speech_gate="").predict(samples, RATE)
    expected = list(answer.probabilities.values())
    np.testing.assert_allclose(outputs["probabilities"][0], expected, atol=1e-5)
    of_gate = lin_jax.load("gender").predict(samples, RATE).probabilities
    np.testing.assert_allclose(outputs["no_speech"][0], of_gate["no speech"], atol=1e-5)


def test_speaker_as_it_ships(ship):
    """A wide pair, a mixed one and a narrow one, each normalised by the cohort for it."""
    live, loaded = ship("speaker")
    wide = [verifiers.voice(speaker) for speaker in (0, 1)]
    narrow = [files.resample(files.resample(clip, RATE, 8000), 8000, RATE) for clip in wide]
    clips, rows, bands = [*wide, *narrow], [], []
    for clip in clips:
        samples, inputs = prepared(live, clip)
        rows.append(loaded("embed", **inputs)["embedding"][0])
        meter = diagnosis.Meter(RATE)
        meter.update(samples[:, None])
        bands.append(meter.diagnosis().narrow)
    assert bands == [False, False, True, True]
    for a, b in ((0, 1), (0, 3), (2, 3)):
        verdict = live.verify(clips[a], clips[b], sample_rate=RATE)
        sides, is_narrow = {"first": [rows[a]], "second": [rows[b]]}, bands[a] or bands[b]
        outputs = loaded("compare", **sides, narrow=[is_narrow])
        assert outputs["score"][0] == pytest.approx(verdict.score, abs=1e-4)
        assert outputs["normalised_score"][0] == pytest.approx(verdict.normalised_score, abs=1e-3)
        other = loaded("compare", **sides, narrow=[not is_narrow])["normalised_score"][0]
        assert abs(other - verdict.normalised_score) > 0.1, "by the other cohort"


@pytest.mark.parametrize("name", ["conversion", "synthesis"])
def test_conversion_as_it_ships(name, ship):
    live, loaded = ship(name)
    # As many frames as the live bundle makes room for, so that they begin with the same noise.
    seconds = synthesizer._num_frames(1) * live.frontend.hop_length / RATE
    source = verifiers.voice(0, seconds)[:-1]
    _, inputs = prepared(live, source)
    voice = {field: array[:1] for field, array in loaded.arrays.items()}
    seed = {"seed": 0} if name == "synthesis" else {}
    frames = loaded("convert", **inputs, **voice, **seed)
    sound = loaded("vocode", features=frames["features"], num_frames=frames["num_frames"])
    converted = sound["waveform"][0, : sound["length"][0]]
    speech = live.convert_voice(source, live.names[0], RATE)
    assert len(converted) == len(speech.samples)
    # The live bundle fades both ends, then sets the level, and then marks.
    ends = slice(400, -400)
    level = {"target_db": live.frontend.level_db, "kind": live.frontend.level}
    converted = levels.level(converted, **level)[ends]
    np.testing.assert_allclose(converted, speech.samples[ends], atol=0.02)
    assert np.abs(converted).max() > 0.2


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """An exported vocoder."""
    return exporting.export(synthesizers.vocoder(), tmp_path_factory.mktemp("exported") / "sound")


def test_the_folder_needs_no_lin_jax(folder):
    """By its loader alone, in a process where lin_jax and Flax cannot be imported."""
    program = (
        "import sys\n"
        "sys.modules['lin_jax'] = sys.modules['flax'] = None\n"
        "import levels, loader, numpy as np\n"
        f"features = np.full((2, 9, {M}), -40.0)\n"
        "outputs = loader.load('.')('vocode', features=features, num_frames=[9, 5])\n"
        "print(outputs['waveform'].shape, outputs['length'].tolist(), levels.level.__name__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split("\n")[0] == "(2, 2048) [2048, 1024] level", result.stderr


def test_the_readme_names_what_goes_in_and_out(folder):
    readme = (folder / "README.md").read_text()
    assert f"`features` float32 [b, t, {M}]" in readme
    assert "`waveform` [b, 256 (t - 1)]" in readme


def test_what_the_loader_refuses(folder, tmp_path):
    loaded = exported.load(folder)
    features = np.zeros((2, 9, M))
    for function, inputs, reason in (
        ("speak", {}, "not a function of this bundle; it has vocode"),
        ("vocode", {"features": features}, "takes features, num_frames; got features"),
        ("vocode", {"features": features, "num_frames": [9]}, r"num_frames: is \[1\] where"),
        ("vocode", {"features": features[0], "num_frames": [9]}, r"is \[9, 16\] where"),
        ("vocode", {"features": features[..., 1:], "num_frames": [9, 9]}, r"15\] where"),
    ):
        with pytest.raises(ValueError, match=reason):
            loaded(function, **inputs)
    with pytest.raises(ValueError, match=r"export\.json: not there; export the bundle again"):
        exported.load(tmp_path)
    (tmp_path / "export.json").write_text(json.dumps({"functions": ["vocode"]}))
    (tmp_path / "vocode.jaxexport").write_bytes(b"")
    with pytest.raises(ValueError, match="damaged"):
        exported.load(tmp_path)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="holds something already"):
        exporting.export(synthesizers.vocoder(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        exporting.export(synthesizers.vocoder(), tmp_path / "file" / "sound")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "letter.txt"]


def test_command(tmp_path, capsys):
    sound = bundles.save(tmp_path / "sound", synthesizers.vocoder())
    assert cli.main(["export", str(sound), str(tmp_path / "out")]) == 0
    assert "MB; its README.md says what goes in and out" in capsys.readouterr().out
    assert (tmp_path / "out" / "loader.py").exists()
    assert cli.main(["export", str(sound), str(tmp_path / "out")]) == 2
    assert "holds something already" in capsys.readouterr().err
