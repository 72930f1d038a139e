"""Corpora: names are read rightly, and what is not as described is refused with its mend."""

import hashlib
import zipfile

import pytest

from data_pipelines import archive, corpora
from data_pipelines.corpora import UNKNOWN, ravdess
from lin_jax.errors import AudioError, CorpusError, LinError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_ravdess_reads_every_code_of_a_name(tmp_path):
    touch(tmp_path, "Actor_12/03-01-06-02-01-02-12.wav", "Actor_01/03-02-01-01-02-01-01.flac")
    (spoken,) = corpora.load("ravdess", tmp_path)
    assert spoken.id == "03-01-06-02-01-02-12"
    assert spoken.speaker == "Actor_12"
    assert spoken.text == "Kids are talking by the door"
    expected = {
        "channel": "speech",
        "emotion": "fearful",
        "intensity": "strong",
        "statement": "kids",
    }
    assert spoken.labels == expected | {"repetition": "2", "sex": "female"}
    (sung,) = corpora.load("ravdess", tmp_path, channel="song")
    assert (sung.labels["emotion"], sung.labels["sex"], sung.text[:4]) == (
        "neutral",
        "male",
        "Dogs",
    )
    assert corpora.load("ravdess", tmp_path, channel="all") == [spoken, sung]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Actor_01/03-01-09-01-01-01-01.wav"], "unknown emotion code 09"),
        (["Actor_01/03-01-00-01-01-01-01.wav"], "unknown emotion code 00"),
        (["Actor_01/03-01-01-01-01-01-25.wav"], "unknown actor 25"),
        (["Actor_01/hello.wav"], "not a RAVDESS name"),
        (
            ["a/03-01-01-01-01-01-01.wav", "b/03-01-01-01-01-01-01.wav"],
            "two files with one name: .*a/.* and .*b/",
        ),
    ],
)
def test_ravdess_refuses(tmp_path, names, message):
    touch(tmp_path, *names)
    with pytest.raises(CorpusError, match=message) as caught:
        corpora.load("ravdess", tmp_path)
    assert "rename" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", ["missing", "."])
def test_ravdess_refuses_a_folder_without_audio(tmp_path, folder):
    with pytest.raises(AudioError):
        corpora.load("ravdess", tmp_path / folder)


@pytest.mark.parametrize(("name", "comma"), [("table.csv", ","), ("table.tsv", "\t")])
def test_table_takes_further_columns_as_labels(tmp_path, name, comma):
    rows = [
        ["path", "speaker", "label", "text", "age"],
        ["b.wav", "s2", "happy", "Привет", "7"],
        ["a.wav", "s1", "sad", "", "8"],
    ]
    (tmp_path / name).write_text("\n".join(comma.join(row) for row in rows), encoding="utf-8")
    first, second = corpora.load("table", tmp_path)
    assert (first.id, first.path, first.speaker) == ("a", tmp_path / "a.wav", "s1")
    assert (second.text, second.labels) == ("Привет", {"label": "happy", "age": "7"})


@pytest.mark.parametrize(
    ("comma", "first_line", "line_end", "encoding"),
    [
        (";", "", "\n", "utf-8"),
        (",", "", "\r\n", "utf-8-sig"),
        ("\t", "", "\r\n", "utf-16"),
        (",", "", "\r", "utf-8"),
        (";", "sep=;\n", "\n", "utf-8-sig"),
        (",", "", ",,\n,,,,,\n", "utf-8"),
    ],
)
def test_table_as_spreadsheets_write_it(tmp_path, comma, first_line, line_end, encoding):
    """Quotes are doubled within quotes, names of columns begin with a capital, cells are empty."""
    rows = [
        ["Path", "Speaker", " Text", "Emotion"],
        ["a.wav", "s", '"He said ""no"", twice; you\t"', ""],
        ["b.wav ", " x", "", "sad"],
    ]
    text = first_line + "".join(comma.join(row) + line_end for row in rows)
    (tmp_path / "table.csv").write_bytes(text.encode(encoding))
    first, second = corpora.load("table", tmp_path)
    assert first.text == 'He said "no", twice; you'
    assert (first.labels, second.labels) == ({"emotion": UNKNOWN}, {"emotion": "sad"})
    assert (second.path, second.speaker, second.text) == (tmp_path / "b.wav", "x", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,speaker,Label,label\na.wav,s,x,y\n", "two columns 'label'"),
        (b"path,speaker,\na.wav,s,x\n", "line 2: give it 3 cells"),
        (b"path,label\na.wav,x\n", "no column 'speaker'"),
        (b"", "no column 'path'"),
        (b"path,speaker\n", "no rows"),
        (b"path,speaker\na.wav\n", "line 2: give it 2 cells"),
        (b"path,speaker\na.wav,s,x\n", "line 2: give it 2 cells"),
        (b"path,speaker\n,s\n", "line 2: give it 2 cells"),
        (b"path,speaker\n\xff\xfe,s\n", "not a UTF-8"),
        (b"path,speaker\na.wav,s\na.flac,s\n", "two files with one name"),
    ],
)
def test_table_refuses(tmp_path, content, message):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        corpora.load("table", tmp_path)


def test_table_or_corpus_missing(tmp_path):
    for call in (
        lambda: corpora.load("table", tmp_path / "missing"),
        lambda: corpora.load("table", tmp_path),
        lambda: corpora.load("table", tmp_path, table=tmp_path / "no.csv"),
        lambda: corpora.load("speech", tmp_path),
    ):
        with pytest.raises(CorpusError, match=r": "):
            call()


@pytest.fixture
def server(record):
    """A record with one small archive: its address and the archive."""
    record, url = record
    with zipfile.ZipFile(record / "speech.zip", "w") as file:
        file.writestr("Actor_01/03-01-01-01-01-01-01.wav", b"RIFF")
    return url, archive.Archive(
        "speech.zip", hashlib.md5((record / "speech.zip").read_bytes()).hexdigest()
    )


def test_download_is_checked_unpacked_and_done_once(tmp_path, server):
    url, speech = server
    ravdess.download(tmp_path / "audio", url, speech)
    assert len(corpora.load("ravdess", tmp_path / "audio")) == 1
    ravdess.download(tmp_path / "audio", "http://127.0.0.1:9", speech)


def test_download_refuses_a_wrong_checksum_and_leaves_nothing(tmp_path, server):
    url, speech = server
    with pytest.raises(CorpusError, match="checksum"):
        ravdess.download(tmp_path / "audio", url, archive.Archive(speech.name, "0" * 32))
    assert list((tmp_path / "audio").iterdir()) == []
    for bad_url in (f"{url}/nowhere", "http://127.0.0.1:9"):
        with pytest.raises(LinError, match="check the connection"):
            ravdess.download(tmp_path / "audio", bad_url, speech)
