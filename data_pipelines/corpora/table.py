"""A corpus of one's own: a CSV or TSV table with one row a recording.

Columns: `path` (relative to the corpus folder, or absolute), `speaker`, and optionally `text`;
every further column, `label` or any other name, is a label. A column `licence` states the terms of
each recording, as `lin_jax.bundles.card` names them, for the cards of what is trained on it.

As spreadsheets write them: commas, semicolons or tabs; UTF-8, or UTF-16 with its mark; names of
columns in any case; blank rows and columns without a name are passed over. An empty cell of a label
is a label that is not known.
"""

import argparse
import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.corpora import UNKNOWN, Utterance
from lin_jax.errors import CorpusError

SUMMARY = "recordings listed in a CSV or TSV table: path, speaker, text and labels"

NAMES = ("table.csv", "table.tsv")
DELIMITERS = ",;\t"
REQUIRED = ("path", "speaker")


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="the table, if not AUDIO_DIR/table.csv or table.tsv",
    )


def options(args: argparse.Namespace) -> dict:
    """What `load` takes of the flags."""
    return {"table": args.table}


def load(audio_dir: Path, table: str | Path | None = None) -> Iterator[Utterance]:
    """List the rows of a table.

    Args:
        audio_dir: folder that the paths in the table are relative to.
        table: the table; `audio_dir/table.csv` or `audio_dir/table.tsv` when None.

    Yields:
        Utterances whose id is the path in the table without its suffix; labels are the further
        columns.

    Raises:
        CorpusError: no table, a column or cell missing, or a table that is not text.
    """
    table = Path(table) if table else _find(audio_dir)
    try:
        text = _read_text(table)
        reader = csv.reader(io.StringIO(text, newline=""), _dialect(text), strict=True)
        rows = ([cell.strip() for cell in row] for row in reader)
        rows = (row for row in rows if any(row) and not row[0].startswith("sep="))
        columns = [column.casefold() for column in next(rows, [])]
        for column in REQUIRED:
            if column not in columns:
                raise CorpusError(f"{table}: no column {column!r} in its first line: add it")
        if twice := [column for column in columns if column and columns.count(column) > 1]:
            raise CorpusError(f"{table}: two columns {twice[0]!r}: rename one of them")
        labels = [column for column in columns if column not in ("", *REQUIRED, "text")]
        count = 0
        for count, row in enumerate(rows, 1):  # noqa: B007
            cells = dict(zip(columns, row, strict=False))
            if len(row) != len(columns) or cells.get("") or not all(map(cells.get, REQUIRED)):
                raise CorpusError(
                    f"{table}, line {reader.line_num}: give it {len(columns)} cells, path and "
                    "speaker"
                )
            yield Utterance(
                id=str(Path(cells["path"]).with_suffix("")),
                path=audio_dir / cells["path"],
                speaker=cells["speaker"],
                text=cells.get("text", ""),
                labels={column: cells[column] or UNKNOWN for column in labels},
            )
    except OSError as error:
        raise CorpusError(f"{table}: {error.strerror}: check --table") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(
            f"{table}: not a UTF-8 {table.suffix} table ({error}): save it as one"
        ) from error
    if not count:
        raise CorpusError(f"{table}: no rows: add one for each recording")


def _read_text(table: Path) -> str:
    """The text of a table, without a byte order mark."""
    data = table.read_bytes()
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if marked else "utf-8-sig")


def _dialect(text: str) -> type[csv.Dialect]:
    """The dialect of a table: its delimiter is what stands most often between names of columns."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("sep=")]
    head = lines[0] if lines else ""

    class Dialect(csv.excel):
        delimiter = max(DELIMITERS, key=head.count)

    return Dialect


def _find(audio_dir: Path) -> Path:
    if not audio_dir.is_dir():
        raise CorpusError(f"{audio_dir}: no such folder: check --audio-dir")
    for name in NAMES:
        if (audio_dir / name).is_file():
            return audio_dir / name
    raise CorpusError(
        f"{audio_dir}: no {' or '.join(NAMES)} in it: write one, or name it with --table"
    )
