"""Bundles: what is saved is what predicts, by the same numbers as in training, and nothing broken is loaded."""

import pathlib
import shutil
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from helpers import verifiers
from helpers.damage import flipped_bits

import lin_jax
from lin_jax import bundles, checksums
from lin_jax.audio import files, frontend, mixing
from lin_jax.audio.augment import change_speed
from lin_jax.bundles import windows
from lin_jax.errors import AudioError, BundleError
from lin_jax.models.registry import NETWORKS

LABELS = ("calm", "angry", "sad")
RATE = 16000


class Pooled(nn.Module):
    """The smallest network with the interface of a classifier."""

    num_classes: int
    widths: tuple[int, ...] = (8,)
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, features, num_frames, *, train):
        for width in self.widths:
            features = nn.tanh(nn.Dense(width)(features))
        valid = jnp.arange(features.shape[1]) < num_frames[:, None]
        pooled = jnp.sum(features * valid[..., None], axis=1) / num_frames[:, None]
        return nn.Dense(self.num_classes)(nn.BatchNorm(use_running_average=not train)(pooled))


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(NETWORKS, "Pooled", Pooled)


def make(members=1, **changes):
    """A bundle with random weights and the normalisation of a real one."""
    config = frontend.FrontendConfig()
    model = Pooled(len(LABELS), widths=(8, 6))
    D = config.num_features
    keys = jax.random.split(jax.random.key(0), members)
    variables = jax.vmap(
        lambda key: model.init(key, jnp.zeros((1, 9, D)), jnp.array([9]), train=False)
    )(keys)
    # One member has no member axis; several differ in all they have.
    shift = np.arange(members)[:, None] * np.ones(D)
    variables, mean, std = jax.tree.map(
        lambda leaf: np.asarray(leaf)[0] if members == 1 else np.asarray(leaf),
        (variables, shift - 30, shift + 12),
    )
    return bundles.Classifier(
        "mood", model, config, variables, mean, std, LABELS, members=members, **changes
    )


def speech(seconds, seed=0, rate=RATE):
    """A tone with wandering loudness and some noise: no two windows of it are alike."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    swell = 0.3 + 0.2 * np.sin(2 * np.pi * 0.31 * t)
    return (swell * np.sin(2 * np.pi * (200 + 40 * t) * t) + 0.01 * rng.normal(size=len(t))).astype(
        np.float32
    )


@pytest.mark.parametrize(
    ("members", "dtype", "tolerance"), [(1, "float32", 0), (3, "float32", 0), (3, "float16", 2e-3)]
)
def test_saved_and_loaded_predicts_the_same(tmp_path, members, dtype, tolerance):
    bundle = make(
        members, temperature=1.7, tta={"tempo": 0.06, "frequency": 0.05}, window_seconds=2.5
    )
    bundles.save(tmp_path / "mood", bundle, "# Mood\n", dtype=dtype)
    again = lin_jax.load(tmp_path / "mood")
    before, after = bundle.predict(speech(4), RATE), again.predict(speech(4), RATE)
    np.testing.assert_allclose(
        list(after.probabilities.values()), list(before.probabilities.values()), atol=tolerance
    )
    assert (again.model, again.labels, again.frontend) == (bundle.model, LABELS, bundle.frontend)
    assert (tmp_path / "mood/README.md").read_text() == "# Mood\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mood"]


def test_prediction_is_the_mean_softmax_of_the_members_without_padding():
    bundle = make(members=2, temperature=2.0)
    samples = files.load(speech(1.3), bundle.frontend, sample_rate=RATE)
    features, num_frames = frontend.extract(bundle.frontend, samples[None])
    expected = np.zeros(len(LABELS))
    for i in range(2):
        variables = jax.tree.map(lambda leaf, i=i: leaf[i], bundle.variables)
        normalised = (features - bundle.mean[i]) / bundle.std[i]
        expected += (
            np.asarray(
                jax.nn.softmax(
                    bundle.model.apply(variables, normalised, num_frames, train=False)[0] / 2
                )
            )
            / 2
        )
    prediction = bundle.predict(speech(1.3), RATE)
    np.testing.assert_allclose(list(prediction.probabilities.values()), expected, atol=1e-5)
    assert prediction.label == LABELS[expected.argmax()]
    assert prediction.seconds == pytest.approx(1.3)


def test_unsure_and_no_speech(tmp_path, monkeypatch):
    bundle = make(window_seconds=1.0, unsure_below=0.7, no_speech="sad")
    bundles.save(tmp_path / "mood", bundle, "")
    bundle = bundles.load(tmp_path / "mood")
    for samples in (np.zeros(RATE, np.float32), np.zeros(70 * RATE, np.float32)):
        prediction = bundle.predict(samples, RATE)
        assert (prediction.label, prediction.probability, prediction.probabilities["sad"]) == (
            "sad",
            1.0,
            1.0,
        )

    def predict(*rows):
        monkeypatch.setattr(bundle, "_probabilities", lambda windows: np.array(rows))
        prediction = bundle.predict(speech(2), RATE)
        return prediction.label, [round(share, 6) for share in prediction.probabilities.values()]

    assert predict([0.8, 0.2, 0.0], [0.1, 0.0, 0.9], [0.6, 0.4, 0.0]) == (
        "calm",
        [0.7, 0.3, 0.0],
    ), "who speaks counts"
    assert predict([0.0, 0.1, 0.9], [0.1, 0.0, 0.9]) == ("sad", [0.05, 0.05, 0.9])
    assert predict([0.69, 0.31, 0.0]) == ("unsure", [0.69, 0.31, 0.0])


def gated(tmp_path, monkeypatch, **changes) -> bundles.Classifier:
    """A bundle behind a gate to which what is soft, by its own samples, is no speech."""
    bundles.save(tmp_path / "gate", make(no_speech="sad"), "")
    settings = {"speech_gate": str(tmp_path / "gate"), "min_seconds": 1.0} | changes
    settings["note"] = "of acted speech"
    bundles.save(tmp_path / "mood", make(**settings), "")
    bundle = bundles.load(tmp_path / "mood")

    def classify(windows):
        soft = np.abs(windows.waveform).max(axis=1) < 0.1
        return np.where(soft[:, None], [0.0, 0.1, 0.9], [0.6, 0.4, 0.0])

    if not changes:
        monkeypatch.setattr(bundle._gate, "_classify", classify)
    return bundle


def test_behind_a_gate_only_speech_is_answered(tmp_path, monkeypatch):
    bundle, loud, soft = gated(tmp_path, monkeypatch), speech(9), 0.01 * speech(9)
    alone = make().predict(loud, RATE)
    assert bundle.predict(loud, RATE).probabilities == pytest.approx(alone.probabilities, abs=1e-4)
    for sound in (soft, np.zeros(9 * RATE, np.float32), np.tile(soft, 8)):
        prediction = bundle.predict(sound, RATE)
        assert (prediction.label, prediction.probabilities) == ("no speech", {})
        assert (prediction.probability, prediction.note) == (0, "of acted speech")
    both = bundle.predict(np.concatenate([soft, loud]), RATE)
    assert both.label in LABELS
    segments = list(bundle.timeline(np.concatenate([soft, loud]), RATE))
    assert [s.label for s in segments[:2]] == ["no speech", "no speech"]
    assert [s.probabilities for s in segments[:2]] == [{}, {}]
    assert all(s.label in LABELS for s in segments[4:])


def test_a_gate_that_is_loaded_is_shared_if_it_is_one():
    bundle, gate = make(speech_gate="gate"), make(no_speech="sad")
    bundle.share_gate({"gate": gate, "mood": bundle})
    assert bundle._gate is gate
    make().share_gate({"gate": gate})
    with pytest.raises(BundleError, match="gate: does not tell where"):
        make(speech_gate="gate").share_gate({"gate": make()})


def test_of_children_it_warns(tmp_path, monkeypatch):
    """Beside the note of the bundle, and of nobody who is silent, too short or unheard."""
    verifiers.register(monkeypatch)
    knowing = verifiers.verifier(child_weight=np.zeros(64, np.float32), child_bias=1.0)
    bundles.save(tmp_path / "voices", knowing, "")
    settings = {"no_speech": "sad", "note": "of acted speech"}
    bundles.save(tmp_path / "mood", make(child_gate=str(tmp_path / "voices"), **settings), "")
    bundle = bundles.load(tmp_path / "mood")
    monkeypatch.setattr(bundle, "_probabilities", lambda windows: np.array([[0.8, 0.2, 0.0]]))
    warning = "of acted speech; may be a child: the label is not to be relied upon"
    prediction = bundle.predict(speech(2), RATE)
    assert (prediction.label, prediction.note) == ("calm", warning)
    files.write(tmp_path / "a.wav", speech(2), RATE)
    assert bundle.predict(tmp_path / "a.wav").note == warning
    assert bundle.predict(np.zeros(RATE, np.float32), RATE).note == "of acted speech"
    assert bundle.predict(speech(0.4), RATE).note == "of acted speech", "too short for a voice"
    monkeypatch.setattr(bundle._child_gate, "child_bias", -1.0)
    assert bundle.predict(speech(2), RATE).note == "of acted speech"


def test_in_noise_and_by_telephone_it_is_unsure(tmp_path, monkeypatch):
    bundles.save(tmp_path / "mood", make(min_snr_db=20.0, note="of acted speech"), "")
    bundle = bundles.load(tmp_path / "mood")
    monkeypatch.setattr(bundle, "_probabilities", lambda windows: np.array([[0.8, 0.2, 0.0]]))
    rng = np.random.default_rng(0)
    spoken = rng.normal(0, 0.1, 3 * RATE).astype(np.float32) * (np.arange(3 * RATE) < 2 * RATE)
    hiss = rng.normal(0, 0.1, 3 * RATE).astype(np.float32)
    clear, noisy = spoken + 1e-3 * hiss, spoken + 0.3 * hiss
    by_telephone = mixing.telephone(clear, RATE)
    for (samples, rate), label, fault in (
        ((clear, RATE), "calm", None),
        ((noisy, RATE), "unsure", "the recording is too noisy to tell"),
        (by_telephone, "unsure", "the recording has too narrow a band to tell"),
    ):
        note = "; ".join(filter(None, ["of acted speech", fault]))
        files.write(tmp_path / "a.wav", samples, rate)
        for prediction in (bundle.predict(samples, rate), bundle.predict(tmp_path / "a.wav")):
            assert (prediction.label, prediction.note) == (label, note)
            assert prediction.probabilities["calm"] == 0.8
    assert make(min_snr_db=0.0).predict(noisy, RATE).label in LABELS


def test_a_gate_of_children_that_is_loaded_is_shared_if_it_is_one():
    bundle = make(child_gate="voices")
    knowing = verifiers.verifier(child_weight=np.zeros(64, np.float32))
    bundle.share_gate({"voices": knowing})
    assert bundle._child_gate is knowing
    with pytest.raises(BundleError, match="voices: knows no voices of children; use speaker"):
        make(child_gate="voices").share_gate({"voices": verifiers.verifier()})


def test_what_is_short_is_not_answered_behind_min_seconds(tmp_path, monkeypatch):
    bundle = gated(tmp_path, monkeypatch)
    prediction = bundle.predict(speech(0.9), RATE)
    assert (prediction.label, prediction.probabilities) == ("too short", {})
    assert prediction.note == "of acted speech"
    assert prediction.seconds == pytest.approx(0.9)
    assert bundle.predict(speech(1.1), RATE).label in LABELS


def test_a_gate_of_other_windows_or_without_the_class_is_refused(tmp_path, monkeypatch):
    with pytest.raises(BundleError, match="gate: does not tell where nobody speaks"):
        gated(tmp_path, monkeypatch, window_seconds=2.0).predict(speech(3), RATE)
    bundles.save(tmp_path / "deaf", make(), "")
    with pytest.raises(BundleError, match="deaf: does not tell where"):
        make(speech_gate=str(tmp_path / "deaf")).predict(speech(3), RATE)


def test_recordings_of_any_length_share_a_few_compilations():
    bundle = make()
    for seconds in (0.2, 1.1, 2.9, 3.0, 3.1, 4.6, 7.7, 30.2, 75.0):
        shares = bundle.predict(speech(seconds), RATE).probabilities.values()
        assert sum(shares) == pytest.approx(1)
    assert bundle._forward._cache_size() <= 4  # batches of 1, 2, 4 and 8


def test_networks_and_gate_share_features(monkeypatch):
    made, extractor = [], windows._extractor

    def counted(settings):
        return lambda *batch: made.append(settings) or extractor(settings)(*batch)

    monkeypatch.setattr(windows, "_extractor", counted)
    bundle = make(members=3, fused=make(), speech_gate="gate")
    bundle.share_gate({"gate": make(no_speech="sad", temperature=1e6)})
    assert bundle.predict(speech(1.0), RATE).probabilities
    assert len(made) == 1


@pytest.mark.parametrize(("count", "batch"), [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8), (9, 8)])
def test_windows_are_padded_to_a_power_of_two(monkeypatch, count, batch):
    """What fills a batch up costs as much as what is asked about."""
    bundle, sizes = make(), []

    def forward(member, features):
        ((frames, _),) = features
        sizes.append(len(frames))
        return np.full((len(frames), len(bundle.labels)), 1.0 / len(bundle.labels))

    monkeypatch.setattr(bundle, "_forward", forward)
    assert len(bundle._probabilities([speech(1.0)] * count)) == count
    assert sizes[0] == batch


def test_timeline_covers_the_recording_and_names_silence(tmp_path):
    bundle = make()
    sound = np.concatenate([speech(6), np.zeros(3 * RATE, np.float32), speech(20.5, seed=1)])
    files.write(tmp_path / "talk.wav", sound, RATE)
    segments = list(bundle.timeline(tmp_path / "talk.wav"))
    assert [segment.start for segment in segments] == pytest.approx(np.arange(0, 29.5, 3))
    assert [segment.end for segment in segments] == pytest.approx([*np.arange(3, 29.5, 3), 29.5])
    assert [segment.label is None for segment in segments] == [False, False, True] + [False] * 7
    for i in (0, 1, 4):
        alone = bundle.predict(sound[3 * i * RATE : 3 * (i + 1) * RATE], RATE).probabilities
        assert segments[i].probabilities == pytest.approx(alone, abs=1e-3)
    tail = bundle.predict(sound[-3 * RATE :], RATE).probabilities
    assert segments[-1].probabilities == pytest.approx(tail, abs=1e-3), (
        "a short rest is heard with what came before"
    )
    stereo = np.repeat(sound[:, None], 2, axis=1)
    assert [segment.label for segment in bundle.timeline(stereo, RATE)] == [
        segment.label for segment in segments
    ]


def test_long_recordings_take_constant_memory(tmp_path):
    bundle = make()
    minutes = 30
    files.write(tmp_path / "long.wav", np.tile(speech(60, rate=8000), minutes), 8000)
    bundle.predict(tmp_path / "long.wav")  # compiles
    tracemalloc.start()
    prediction = bundle.predict(tmp_path / "long.wav")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert prediction.seconds == minutes * 60
    assert peak < 0.1 * minutes * 60 * RATE * 4, f"{peak / 1e6:.1f} MB for a recording of 115 MB"


def test_serving_imports_nothing_that_only_training_needs(tmp_path):
    folder = bundles.save(tmp_path / "mood", make(), "")
    heavy = {
        "orbax",
        "grain",
        "librosa",
        "matplotlib",
        "scipy",
        "optax",
        "tensorstore",
        "tensorflow_datasets",
    }
    code = f"""
import sys
import numpy as np
import lin_jax, lin_jax.bundles
sys.path.insert(0, {str(pathlib.Path(__file__).parents[1])!r})
from {__name__} import Pooled
from lin_jax.models.registry import register
register(Pooled)
lin_jax.load({str(folder)!r}).predict(np.sin(np.arange(16000.0)), 16000)
print(sorted({heavy!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (np.zeros(RATE, np.float32), RATE, "silent"),
        (np.zeros(70 * RATE, np.float32), RATE, "silent"),
        (np.array([0.5], np.float32), RATE, "1 samples are too few"),
        (np.full(RATE, np.nan, np.float32), RATE, "NaN"),
        (speech(1), None, "pass sample_rate="),
        ("missing.wav", None, "no such file"),
    ],
)
def test_unusable_sound_is_refused(sound, rate, message):
    with pytest.raises(AudioError, match=message):
        make().predict(sound, rate)


def test_timeline_names_the_recording_it_refuses(tmp_path):
    files.write(tmp_path / "click.wav", np.array([0.5], np.float32), RATE)
    with pytest.raises(AudioError, match=r"click\.wav: 1 samples are too few"):
        list(make().timeline(tmp_path / "click.wav"))


def _edit(**changes):
    def edit(folder):
        described = bundles.describe(folder)
        for name, value in changes.items():
            if value is None:
                del described[name]
            elif isinstance(value, dict):
                described[name] |= value
            else:
                described[name] = value
        (folder / "bundle.json").write_text(checksums.to_json(described))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "no bundle here; give a folder"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "damaged or changed"),
        (lambda folder: (folder / "bundle.json").write_text("{}"), "it has no checksum"),
        (lambda folder: (folder / "bundle.json").write_text("[" * 10**5), "damaged or changed"),
        (_edit(window_seconds=1e6), "window_seconds is 1000000.0, where 0.05 to 120 can be"),
        (_edit(frontend={"n_fft": 10**400}), "n_fft is 1000000000.*, where 2 to 8192"),
        (_edit(window_seconds="long"), "window_seconds is 'long', not"),
        (_edit(labels=["calm", 1]), "labels is .*, not"),
        (_edit(no_speech=[]), r"no_speech is '\[\]', not"),
        (_edit(model={"kwargs": [[]]}), "cannot be read"),
        (_edit(parameters=3), "another number of parameters"),
        (_edit(calibration={"temperature": float("nan")}), "temperature is nan"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "cannot be read"),
        (
            lambda folder: (folder / "weights.safetensors").write_bytes(b"version https://git-lfs"),
            "damaged",
        ),
        (_edit(format=99), "format 99"),
        (_edit(task="translation"), "a translation bundle"),
        (_edit(labels=None), "lack 'labels'"),
        (_edit(frontend={"n_mels": 80}), "front end was changed"),
        (_edit(frontend={"n_bels": 80}), "no setting n_bels"),
        (_edit(model={"name": "os.system"}), "network os.system is unknown"),
        (_edit(model={"kwargs": {"depth": 3}}), "cannot be read"),
    ],
)
def test_broken_bundle_is_refused(tmp_path, damage, message):
    folder = bundles.save(tmp_path / "mood", make(), "")
    damage(folder)
    with pytest.raises(BundleError, match=message) as caught:
        bundles.load(folder)
    assert "\n" not in str(caught.value)


def test_every_flipped_bit_is_noticed(tmp_path):
    folder = bundles.save(tmp_path / "mood", make(fused=make(2)), provenance={"command": "train"})
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in (".json", ".safetensors")]
    assert len(paths) == 4
    flipped = 0
    for path in paths:
        for _ in flipped_bits(path, 60):
            flipped += 1
            with pytest.raises(BundleError) as caught:
                bundles.load(folder)
            assert "\n" not in str(caught.value)
    assert flipped == 240
    bundles.load(folder)


def test_weights_of_another_network_are_refused(tmp_path):
    folder = bundles.save(tmp_path / "mood", make(), "")
    _edit(model={"kwargs": {"num_classes": 3, "widths": [8, 7]}})(folder)
    with pytest.raises(BundleError, match="weights do not fit"):
        bundles.load(folder).predict(speech(1), RATE)


def test_full_disk_leaves_the_old_bundle(tmp_path, monkeypatch):
    folder = bundles.save(tmp_path / "mood", make(), "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(BundleError, match="No space left on device"):
            bundles.save(folder, make(), "new")
    assert (folder / "README.md").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["mood"]
    bundles.load(folder)


def test_only_registered_networks_with_plain_settings_are_saved(tmp_path, monkeypatch):
    bundle = make()
    bundle.model = Pooled(3, dtype=jnp.bfloat16)
    with pytest.raises(BundleError, match="dtype does not fit in JSON"):
        bundles.save(tmp_path / "mood", bundle, "")
    monkeypatch.delitem(NETWORKS, "Pooled")
    with pytest.raises(BundleError, match="register it"):
        bundles.save(tmp_path / "mood", make(), "")


def test_windows_are_heard_at_several_speeds(tmp_path):
    """Logits at each speed are averaged; what is slowed is heard to its end."""
    speeds, at_once = (0.8, 1.0, 1.25), make()
    bundle = make(tta={"speeds": speeds})
    bundles.save(tmp_path / "mood", bundle, "# Mood\n")
    samples = files.load(speech(2.4), bundle.frontend, sample_rate=RATE)
    logits = []
    for speed in speeds:
        waveform = jnp.pad(samples, (0, len(samples)))[None]
        played = change_speed(waveform, jnp.array([len(samples)]), jnp.array([speed]))
        assert int(played[1][0]) == int(np.ceil(len(samples) / speed))
        features, num_frames = frontend.extract(bundle.frontend, *played)
        normalised = (features - at_once.mean) / at_once.std
        given = at_once.variables, normalised, num_frames
        logits.append(at_once.model.apply(*given, train=False)[0])
    expected = jax.nn.softmax(np.mean(logits, axis=0))
    for heard in (bundle, lin_jax.load(tmp_path / "mood")):
        predicted = list(heard.predict(speech(2.4), RATE).probabilities.values())
        np.testing.assert_allclose(predicted, expected, atol=1e-5)
    one = list(at_once.predict(speech(2.4), RATE).probabilities.values())
    assert np.abs(np.array(predicted) - one).max() > 1e-3


def test_two_answer_together(tmp_path):
    """The probabilities of what stands beside count as much, window by window, before and after the disk."""
    other = make(2, temperature=0.5)
    both, alone = make(fused=other), make()
    bundles.save(tmp_path / "mood", both, "# Mood\n")
    expected = [
        (np.array(list(first.probabilities.values())) + list(second.probabilities.values())) / 2
        for first, second in zip(
            alone.timeline(speech(7), RATE), other.timeline(speech(7), RATE), strict=True
        )
    ]
    for bundle in (both, lin_jax.load(tmp_path / "mood")):
        predicted = [
            list(segment.probabilities.values()) for segment in bundle.timeline(speech(7), RATE)
        ]
        np.testing.assert_allclose(predicted, expected, atol=1e-6)
    assert lin_jax.load(tmp_path / "mood/fused").members == 2
    (tmp_path / "mood/fused/weights.safetensors").write_bytes(b"")
    with pytest.raises(BundleError, match=r"fused: weights\.safetensors is damaged"):
        lin_jax.load(tmp_path / "mood")
    shutil.rmtree(tmp_path / "mood/fused")
    bundles.save(tmp_path / "mood/fused", make(3))
    with pytest.raises(BundleError, match="fused/ is of another bundle"):
        lin_jax.load(tmp_path / "mood")
    with pytest.raises(BundleError, match="has other windows, or other labels"):
        make(fused=make(window_seconds=2.0))
