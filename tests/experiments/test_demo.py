"""The demo: the whole way, small."""

import json
import re

import numpy as np
import pytest
import soundfile
from helpers.tiny import drawn

import lin_jax
from data_pipelines.corpora import synthetic
from experiments import demo
from lin_jax import bundles
from lin_jax.audio import files
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import CorpusError
from lin_jax.models.autoencoder import MelAutoencoder
from lin_jax.models.tacotron import Tacotron
from lin_jax.tasks.synthesis import Synthesis
from lin_jax.text import SymbolTable


def synthesizer(folder, encoder) -> str:
    """A bundle that speaks, or rather hums, as the voices that the demo's own encoder hears tell it."""
    E = 64
    table = SymbolTable.of([demo.SENTENCE])
    network = Tacotron(20, len(table), 0, 2, 2, 4, 4, 2, 8, (4,), (4,))
    frontend = FrontendConfig(n_mels=20)
    task = Synthesis(network, frontend, np.zeros(20), np.ones(20), E)
    params = drawn(task.init)["params"]
    voices = np.ones((1, E), np.float32)
    made = bundles.Synthesizer(
        "hum",
        network,
        frontend,
        {"params": params},
        task.mean,
        task.std,
        voices,
        ("one",),
        ("",),
        table,
        np.zeros((1, 20), np.float32),
        np.zeros((1, 20), np.float32),
        max_seconds=2.0,
        encoder=str(encoder),
    )
    return str(bundles.save(folder, made, ""))


def test_demo_goes_the_whole_way(tmp_path, capsys):
    pytest.importorskip("espeakng_loader")
    size = demo.Size(speakers=14, clips=1, num_steps=4, eval_every=4, widths=(4,))
    network = MelAutoencoder(widths=(4,))
    repairer = bundles.Repairer(
        "mended", network, FrontendConfig(), drawn(network.init, np.zeros((1, 16000)))
    )
    mended = str(bundles.save(tmp_path / "mended", repairer, ""))
    humming = synthesizer(tmp_path / "synthesizer", encoder=tmp_path / "speakers")
    page = demo.run(tmp_path, size, mended, humming).read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    bundle = lin_jax.load(tmp_path / "style")
    assert bundle.labels == tuple(sorted(synthetic.STYLES))
    assert lin_jax.load(tmp_path / "sex").labels == ("female", "male")
    for heading in (
        "In figures",
        "Corpus",
        "Training",
        "Judgement",
        "Listen",
        "Gender",
        "Who is speaking",
        "Repair",
        "Speech",
        "Use",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("<audio") >= 5
    assert "<strong>8</strong><span>clips judged" in page, (
        "two of fourteen voices, with a clip in each style"
    )
    assert "<strong>28</strong><span>pairs of clips" in page
    # What `lin` printed in its own processes is what this process hears.
    asked = re.findall(r"\$ (.*)\n +(.*)", printed)
    clip = asked[0][0].split()[-1]
    prediction = bundle.predict(clip)
    assert asked[0][1].split()[1:3] == [
        prediction.label,
        f"{prediction.probabilities[prediction.label]:.0%}",
    ]
    verifier = lin_jax.load(tmp_path / "speakers")
    for command, answer in asked[2:4]:
        verdict = verifier.verify(*command.split()[-2:])
        assert f"score {verdict.score:.3f}" in answer
    noise = np.random.default_rng(9).normal(0, 0.1, 32000)
    assert verifier.verify(clip, noise, sample_rate=16000).decision == "unsure"
    for name in ("noise", "clipping", "drop-outs"):
        before, after = (
            files.describe(tmp_path / f"{folder}/{name}.wav") for folder in ("damaged", "repaired")
        )
        assert before == after
    assert "synthetic speech" in soundfile.SoundFile(tmp_path / "spoken.wav").comment
    for name in ("style", "speakers"):
        lines = (tmp_path / f"training/{name}/metrics.jsonl").read_text().splitlines()
        assert max(json.loads(line).get("step", 0) for line in lines) == 4


def test_missing_extra_is_one_line(tmp_path, capsys, monkeypatch):
    def refuse(*_, **__):
        raise CorpusError("espeak-ng is not installed: pip install 'lin_jax[tts]'")

    monkeypatch.setattr(synthetic, "generate", refuse)
    assert demo.main(["--out", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == "error: espeak-ng is not installed: pip install 'lin_jax[tts]'\n"
    )
