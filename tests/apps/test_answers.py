"""Answers as HTML."""

from lin_jax.apps import answers
from lin_jax.bundles import Prediction, Verdict


def test_doubt_is_shown():
    sure = answers.heard(Prediction("female", {"female": 0.95, "male": 0.05}, 2.0))
    assert '<div class="answer told"><strong>female</strong><span>95% sure · 2.0 s</span>' in sure
    unsure = answers.heard(Prediction("unsure", {"female": 0.55, "male": 0.45}, 2.0))
    assert '<div class="answer unsure"><strong>unsure</strong><span>no answer is likely enough' in unsure


def test_verdict_lies_beside_its_threshold():
    shown = answers.judged(Verdict("unsure", 0.2, 0.8, 0.5, 0.5, "<b>.wav does not sound like speech"))
    assert '<div class="answer unsure"><strong>unsure</strong>' in shown
    assert "&lt;b&gt;.wav does not sound" in shown
    assert '<i style="left:75.0%"></i><b style="left:60.0%"></b>' in shown
    assert "<strong>different speakers</strong>" in answers.judged(Verdict("different", 0.2, 0.8, 0.5, 0.1, ""))
