"""Answers as HTML."""

from lin_jax.apps import classify, verify
from lin_jax.bundles import Prediction, Verdict


def test_doubt_is_shown():
    sure = classify.as_html(Prediction("female", {"female": 0.95, "male": 0.05}, 2.0))
    assert '<div class="answer sure"><strong>female</strong><span>95% sure · 2.0 s</span>' in sure
    unsure = classify.as_html(Prediction("unsure", {"female": 0.55, "male": 0.45}, 2.0))
    assert (
        '<div class="answer unsure"><strong>unsure</strong><span>no answer is likely enough'
        in unsure
    )
    silent = classify.as_html(Prediction("no speech", {}, 2.0, "of acted studio speech"))
    assert "<strong>no speech</strong><span>not answered · 2.0 s · of acted studio speech" in silent


def test_verdict_lies_beside_its_threshold():
    shown = verify.as_html(
        Verdict("unsure", 0.2, 0.8, 1.0, 3.0, 0.5, "<b>.wav does not sound like speech")
    )
    assert '<div class="answer unsure"><strong>unsure</strong>' in shown
    assert "&lt;b&gt;.wav does not sound" in shown
    assert '<i style="left:50%"></i><b style="left:30.0%"></b>' in shown
    different = verify.as_html(Verdict("different", 0.2, 0.8, 0.0, 0.0, 0.36, "", 0.48))
    assert "<strong>different speakers</strong><span>36% same; same from 48% on<" in different
    assert '<b style="left:50.0%"></b>' in different
