"""Answers as HTML fragments: what the page shows beside a recording."""

import html
from collections.abc import Sequence

from lin_jax.apps import repair
from lin_jax.bundles import Prediction, RepairResult, Speech, Verdict
from lin_jax.reporting.html import bars

WORDS = {"same": "same speaker", "different": "different speakers", "unsure": "unsure"}


def heard(prediction: Prediction) -> str:
    """What a recording is, and how likely each class is."""
    told = prediction.label in prediction.probabilities
    sure = f"{prediction.probability:.0%} sure" if told else "no answer is likely enough"
    below = f"{sure} · {prediction.seconds:.1f} s"
    return _answer(prediction.label, below, "told" if told else "unsure") + bars(
        prediction.probabilities
    )


def judged(verdict: Verdict) -> str:
    """Whether two sides are the same speaker, and where their score lies beside the threshold, which is the middle."""
    sure = f"the same speaker with a probability of {verdict.probability:.0%}"
    note = _note(verdict.reason) if verdict.reason else ""
    gap = verdict.normalised_score - verdict.threshold
    place = 50 + 50 * gap / (abs(gap) + abs(verdict.threshold) + 1e-9)
    gauge = (
        f'<div class="gauge"><i style="left:50%"></i><b style="left:{place:.1f}%"></b></div>'
        '<div class="ends"><span>different</span><span>same</span></div>'
        f'<p class="note">Cosine similarity {verdict.score:.3f}, normalised {verdict.normalised_score:.3f}; '
        f"from {verdict.threshold:.3f} on, the line, two voices count as one.</p>"
    )
    return _answer(WORDS[verdict.decision], sure, verdict.decision) + note + gauge


def repaired(result: RepairResult) -> str:
    """What was wrong with a recording."""
    silent = result.before.silent
    found = ", ".join(repair.findings(result)) or "nothing was wrong that has a name"
    note = _note(repair.loss(result)) if result.cut > repair.CUT else ""
    word = "Left as it is" if silent else "Repaired"
    return _answer(word, f"{result.seconds:.1f} s · {found}", "unsure" if silent else "told") + note


def spoken(speech: Speech, problems: Sequence[str]) -> str:
    """What speech was made by, and what went wrong within it."""
    made = _answer(
        f"{speech.seconds:.1f} s",
        f"synthetic speech, {speech.provenance}",
        "unsure" if problems else "told",
    )
    return made + "".join(map(_note, problems))


def hint(text: str) -> str:
    """What to do, where there is nothing to show yet."""
    return f'<div class="hint">{html.escape(text)}</div>'


def problem(error: Exception) -> str:
    """Why there is no answer."""
    return f'<div class="problem">{html.escape(str(error))}</div>'


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def _answer(word: str, below: str, kind: str) -> str:
    return f'<div class="answer {kind}"><strong>{html.escape(word)}</strong><span>{html.escape(below)}</span></div>'


STYLE = """
.answer{border-radius:14px;padding:20px 24px;margin-bottom:18px;background:var(--ground);
  border-left:6px solid var(--blue)}
.answer strong{display:block;font-size:34px;line-height:1.15;letter-spacing:-.02em;color:var(--ink)}
.answer span{color:var(--muted);font-size:15px}
.answer.same{border-color:var(--green)}
.answer.different{border-color:#c2417c}
.answer.unsure{border-color:#f08c2e}
.bars,.gauge,.ends{margin:0 4px}
.bar span{color:var(--ink)}
.hint{border:2px dashed var(--rule);border-radius:14px;padding:56px 32px;text-align:center;color:var(--muted);
  font-size:17px}
.problem{border-radius:14px;padding:18px 22px;background:#fef3f2;border-left:6px solid #d92d20;color:#7a271a;
  font-size:15px;overflow-wrap:anywhere}
.gauge{position:relative;height:14px;border-radius:7px;background:linear-gradient(90deg,#f3d4e3,var(--ground),#c9ecdf)}
.gauge b{position:absolute;top:-5px;width:24px;height:24px;margin-left:-12px;border-radius:50%;background:var(--blue);
  border:3px solid #fff;box-shadow:0 1px 4px #0004}
.gauge i{position:absolute;top:-6px;height:26px;border-left:2px dashed var(--muted)}
.ends{display:flex;justify-content:space-between;font-size:13px;color:var(--muted);margin-top:8px}
.note{color:var(--muted);font-size:14px;margin:10px 4px}
"""
