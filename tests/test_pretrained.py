"""The bundles that ship: small, described, and usable."""

import dataclasses
import inspect
import json
import pathlib
import re

import numpy as np
import pytest
import safetensors

import lin_jax
from lin_jax import bundles
from lin_jax.audio import files
from lin_jax.audio.diagnosis import Meter
from lin_jax.bundles import card
from lin_jax.models import registry

EXAMPLES = pathlib.Path(lin_jax.__file__).parent / "apps/examples"
CARDS = sorted(bundles.PRETRAINED.rglob("README.md"))
SHIPPED = sorted(path.parent for path in bundles.PRETRAINED.glob("*/bundle.json"))


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_is_small_and_described(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 8e6
    provenance = bundles.describe(folder)["provenance"]
    assert provenance["command"].startswith("python -m experiments.")
    assert provenance["corpora"]
    assert provenance["metrics"]


@pytest.mark.parametrize("path", CARDS, ids=lambda path: str(path.parent.name))
def test_card_is_what_bundle_json_says(path):
    described = bundles.describe(path.parent)
    assert path.read_text(encoding="utf-8") == card.render(described)
    with safetensors.safe_open(path.with_name("weights.safetensors"), "numpy") as weights:
        names = [name for name in weights.keys() if name.startswith("variables/params/")]  # noqa: SIM118
        sizes = [np.prod(weights.get_slice(name).get_shape(), dtype=int) for name in names]
    assert described["parameters"] == sum(sizes)


@pytest.mark.parametrize(
    "path", CARDS, ids=lambda path: str(path.parent.relative_to(bundles.PRETRAINED))
)
def test_networks_have_by_default_the_sizes_that_ship(path):
    """But for the numbers of classes and symbols, and for the views of a recording, which are chosen last."""
    network = bundles.describe(path.parent)["model"]
    shipped = network["kwargs"]
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(registry.find(network["name"]))
        if field.name in shipped and field.default is not dataclasses.MISSING
    }
    differ = {n for n, value in defaults.items() if json.dumps(value) != json.dumps(shipped[n])}
    assert differ <= {"num_symbols", "shifts"}


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_the_call_in_its_card_can_be_made(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    call = re.search(r'lin_jax\.load\("(\w+)"\)(?:\.(\w+)\((.*?)\))?', text)
    assert call[1] == folder.name
    if call[2]:
        method = getattr(bundles.load(folder), call[2])
        inspect.signature(method).bind(*call[3].split(", "))


def test_emotion_does_not_depend_on_how_loud_a_recording_is():
    bundle = dataclasses.replace(
        lin_jax.load("emotion"), speech_gate="", unsure_below=0.0, min_snr_db=0.0
    )
    t = np.arange(32000) / 16000
    voice = (
        sum(np.sin(2 * np.pi * 140 * k * t + 3 * np.sin(5 * t)) / k for k in range(1, 20))
        * np.sin(3 * t) ** 2
    )
    soft, loud = (bundle.predict((gain * voice).astype(np.float32), 16000) for gain in (0.01, 0.3))
    assert soft.label == loud.label
    assert soft.label in bundle.labels
    for label, probability in soft.probabilities.items():
        assert probability == pytest.approx(loud.probabilities[label], abs=1e-3)


def test_emotion_does_not_answer_where_nobody_speaks():
    bundle = lin_jax.load("emotion")
    t, rng = np.arange(48000) / 16000, np.random.default_rng(0)
    for sound in (np.zeros(48000), 0.3 * np.sin(2 * np.pi * 440 * t), rng.normal(0, 0.1, 48000)):
        assert bundle.predict(sound.astype(np.float32), 16000).label == "no speech"
    assert bundle.predict(rng.normal(0, 0.1, 8000).astype(np.float32), 16000).label == "too short"


def test_repair_live_takes_noise_out_of_a_stream():
    samples, rate = files.read(EXAMPLES / "noisy.mp3", 16000)
    stream = lin_jax.load("repair_live").stream(rate)
    parts = [stream.push(part) for part in np.array_split(samples, 40)]
    meters = [Meter(rate), Meter(rate)]
    for meter, sound in zip(
        meters, (samples, np.concatenate([*parts, stream.flush()])), strict=True
    ):
        assert sound.shape == samples.shape
        meter.update(sound[:, None])
    before, after = (meter.diagnosis() for meter in meters)
    assert after.noise_db < before.noise_db - 12
    assert after.rms > 0.7 * before.rms
