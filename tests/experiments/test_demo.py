"""The demo: the whole way, small."""

import json

import pytest

import lin_jax
from data_pipelines.corpora import synthetic
from experiments import demo
from lin_jax.errors import CorpusError


def test_demo_goes_the_whole_way(tmp_path, capsys):
    pytest.importorskip("espeakng_loader")
    size = demo.Size(speakers=4, clips=4, num_steps=2, eval_every=1, widths=(4,))
    page = demo.run(tmp_path, size).read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    bundle = lin_jax.load(tmp_path / "bundle")
    assert bundle.labels == tuple(sorted(synthetic.STYLES))
    for heading in ("In figures", "Corpus", "Training", "Judgement", "Listen", "Use"):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("<audio") >= 1
    assert "<strong>16</strong><span>clips judged" in page, "one of four voices, with four clips in each style"
    # What `lin emotion` printed in its own process is what this process predicts.
    answer = next(line for line in printed.splitlines() if ".wav  " in line).split()
    heard = bundle.predict(answer[0])
    assert answer[1:3] == [heard.label, f"{heard.probabilities[heard.label]:.0%}"]
    steps = [json.loads(line).get("step") for line in (tmp_path / "training/metrics.jsonl").read_text().splitlines()]
    assert max(step for step in steps if step) == 2


def test_missing_extra_is_one_line(tmp_path, capsys, monkeypatch):
    def refuse(*_, **__):
        raise CorpusError("espeak-ng is not installed: pip install 'lin_jax[tts]'")

    monkeypatch.setattr(synthetic, "generate", refuse)
    assert demo.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: espeak-ng is not installed: pip install 'lin_jax[tts]'\n"
