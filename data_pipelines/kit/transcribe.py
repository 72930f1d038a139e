"""Texts for recordings that have none, by a recogniser, and a page to listen, check and correct.

Pocketsphinx (`lin_jax[eval]`) works offline and is often wrong; faster-whisper, where it is
installed, is far better, and so is Moonshine for English, whose wheel has its model. A recording
that has a text already keeps it.
"""

import argparse
import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import tqdm

from data_pipelines import kit
from data_pipelines.corpora import UNKNOWN, Utterance
from lin_jax import recognisers
from lin_jax.audio import files
from lin_jax.reporting import html

SUMMARY = "write down what is said in recordings without a text; a page to correct it"


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--recogniser",
        choices=tuple(recognisers.RECOGNISERS),
        help="whisper: faster-whisper, which downloads its model once; moonshine: English, offline "
        "(pip install moonshine-voice==0.0.49); default: the first of these that is installed",
    )


def run(utterances: Sequence[Utterance], args: argparse.Namespace) -> dict[str, str]:
    """Transcribe a corpus; writes OUT/table.csv and OUT/transcripts.html."""
    out = kit.make_folder(args.out)
    recogniser = args.recogniser or (*recognisers.installed(), "pocketsphinx")[0]
    todo = [utterance for utterance in utterances if not utterance.text]
    clips, skipped = kit.each(lambda u: files.read(u.path, recognisers.RATE)[0], todo, "read")
    texts = recognisers.RECOGNISERS[recogniser]([samples for _, samples in clips])
    texts = tqdm.tqdm(texts, "recognised", len(clips), unit="clip", disable=None)
    recognised = dict(zip((u.id for u, _ in clips), texts, strict=True))
    listed = []
    for utterance in utterances:
        text, confidence = recognised.get(utterance.id, (utterance.text, None))
        confidence = UNKNOWN if confidence is None else f"{confidence:.2f}"
        labels = utterance.labels | {"confidence": confidence}
        if str(utterance.path) not in skipped:
            listed.append(dataclasses.replace(utterance, text=text, labels=labels))
    table = kit.write_table(out, listed)
    page = write_page(out, listed)
    print(f"{len(clips)} of {len(utterances)} clips transcribed by {recogniser}: {table}")
    print(f"listen and correct them: {page}")
    return skipped


def write_page(out: Path, utterances: Sequence[Utterance]) -> Path:
    """A page beside the table: listen, correct, and save the table anew; it needs no network."""
    rows = [
        {
            "path": Path(os.path.relpath(utterance.path, out)).as_posix(),
            "speaker": utterance.speaker,
            "text": utterance.text,
        }
        | {name: "" if value == UNKNOWN else value for name, value in utterance.labels.items()}
        for utterance in utterances
    ]
    data = json.dumps(rows).replace("</", "<\\/")
    path = out / "transcripts.html"
    path.write_text(PAGE.replace("ROWS", data).replace("STYLE", html.STYLE), encoding="utf-8")
    return path


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Transcripts</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>STYLE
main{max-width:60rem;margin:auto;padding:1rem}li{margin:1rem 0}audio,textarea{width:100%}
textarea{font:inherit;padding:.5rem;box-sizing:border-box}</style></head><body><main>
<h1>Transcripts</h1><p>Listen, correct, and save: the file that is downloaded takes the place of
table.csv. <button id="save">Save table.csv</button></p><ol id="list"></ol></main><script>
const rows = ROWS, list = document.getElementById("list");
for (const row of rows) {
  const item = list.appendChild(document.createElement("li"));
  item.append(`${row.path}  ${row.speaker}  ${row.confidence}`);
  const audio = item.appendChild(document.createElement("audio"));
  Object.assign(audio, {controls: true, preload: "none", src: encodeURI(row.path)});
  const field = item.appendChild(document.createElement("textarea"));
  field.ariaLabel = `what is said in ${row.path}`;
  field.value = row.text;
  field.oninput = () => { row.text = field.value; };
}
document.getElementById("save").onclick = () => {
  const names = Object.keys(rows[0]), cell = text => `"${String(text).replaceAll('"', '""')}"`;
  const lines = [names, ...rows.map(row => names.map(name => row[name]))].map(r => r.map(cell).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\\r\\n") + "\\r\\n"], {type: "text/csv"}));
  link.download = "table.csv";
  link.click();
};
</script></body></html>
"""
