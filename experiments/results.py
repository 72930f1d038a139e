"""Writes docs/results.md from docs/results/*.json: python -m experiments.results

A JSON file is a list of results of one job, each with `what`, `protocol`, `score`, `command` and
`source`: what was measured, on whom, the figure with its interval, how, and where it stands.
"""

import json
import pathlib

DOCS = pathlib.Path(__file__).parents[1] / "docs"
HEAD = """# Results

Generated from `docs/results/*.json` by `make results`. On 2 CPU cores unless stated; speakers that
nobody learnt from unless a line says "speaker-dependent"; intervals are 95 %, over speakers.
"""


def render(folder: pathlib.Path = DOCS / "results") -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for path in sorted(folder.glob("*.json")):
        parts.append(f"## {path.stem.replace('_', ' ').capitalize()}\n")
        for row in json.loads(path.read_text(encoding="utf-8")):
            parts.append(f"**{row['what']}.** {row['protocol']}: {row['score']}.\n")
            command = f"By {row['command']}; " if row["command"] else ""
            parts.append(f"{command}{row['source']}.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (DOCS / "results.md").write_text(render(), encoding="utf-8")
