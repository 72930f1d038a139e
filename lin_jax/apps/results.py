"""Answers as HTML fragments: what the page shows beside a recording."""

import html


def answer(word: str, below: str, kind: str) -> str:
    """A word in large letters with a line below it; the kind, "sure" or "unsure" among others, gives its colour."""
    return f'<div class="answer {kind}"><strong>{html.escape(word)}</strong><span>{html.escape(below)}</span></div>'


def note(text: str) -> str:
    """A line in small letters."""
    return f'<p class="note">{html.escape(text)}</p>'


def hint(text: str) -> str:
    """What to do, where there is nothing to show yet."""
    return f'<div class="hint">{html.escape(text)}</div>'


def problem(error: Exception) -> str:
    """Why there is no answer."""
    return f'<div class="problem">{html.escape(str(error))}</div>'


def gauge(place: float, left: str, right: str) -> str:
    """A line from `left` to `right` with a mark at `place` percent; a threshold is in its middle."""
    return (
        f'<div class="gauge"><i style="left:50%"></i><b style="left:{place:.1f}%"></b></div>'
        f'<div class="ends"><span>{html.escape(left)}</span><span>{html.escape(right)}</span></div>'
    )


STYLE = """
.answer{border-radius:14px;padding:20px 24px;margin-bottom:18px;background:var(--ground);
  border-left:6px solid var(--blue)}
.answer strong{display:block;font-size:34px;line-height:1.15;letter-spacing:-.02em;color:var(--ink);
  text-wrap:balance}
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
