"""A corpus of one's own: a CSV or TSV table with one row a recording.

Columns: `path` (relative to the corpus folder, or absolute), `speaker`, and optionally `text`;
every further column, `label` or any other name, is a label. A column `licence` states the terms of
each recording, as `lin_jax.bundles.card` names them, for the cards of what is trained on it.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.corpora import Utterance
from lin_jax.errors import CorpusError

NAMES = ("table.csv", "table.tsv")


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
    delimiter = "\t" if table.suffix == ".tsv" else ","
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            columns = reader.fieldnames or []
            for column in ("path", "speaker"):
                if column not in columns:
                    raise CorpusError(f"{table}: no column {column!r} in its first line: add it")
            labels = [column for column in columns if column not in ("path", "speaker", "text")]
            count = 0
            for count, row in enumerate(reader, 1):  # noqa: B007
                if None in row or None in row.values() or not row["path"] or not row["speaker"]:
                    raise CorpusError(
                        f"{table}, line {reader.line_num}: give it {len(columns)} cells, path and "
                        "speaker"
                    )
                yield Utterance(
                    id=str(Path(row["path"]).with_suffix("")),
                    path=audio_dir / row["path"],
                    speaker=row["speaker"],
                    text=row.get("text", ""),
                    labels={column: row[column] for column in labels},
                )
    except OSError as error:
        raise CorpusError(f"{table}: {error.strerror}: check --table") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(
            f"{table}: not a UTF-8 {table.suffix} table ({error}): save it as one"
        ) from error
    if not count:
        raise CorpusError(f"{table}: no rows: add one for each recording")


def _find(audio_dir: Path) -> Path:
    if not audio_dir.is_dir():
        raise CorpusError(f"{audio_dir}: no such folder: check --audio-dir")
    for name in NAMES:
        if (audio_dir / name).is_file():
            return audio_dir / name
    raise CorpusError(
        f"{audio_dir}: no {' or '.join(NAMES)} in it: write one, or name it with --table"
    )
