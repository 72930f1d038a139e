"""Corpora of many speakers: release layouts are read rightly, and what is not as described is
refused with its mend.
"""

import hashlib
import tarfile
import zipfile

import pytest
from helpers.noise_corpus import write_clip

from data_pipelines import __main__ as command
from data_pipelines import corpora, splits
from data_pipelines.archive import Archive
from data_pipelines.corpora import librispeech, vctk
from lin_jax.errors import AudioError, CorpusError

SPEAKERS_TXT = """; the first lines say what is in it
;ID  |SEX| SUBSET           |MINUTES| NAME
60   | M | train-clean-100  | 20.18 | |CBW|Simon
19   | F | dev-clean        | 25.19 | Kara Shallenberg
"""
SPEAKER_INFO = """ID  AGE  GENDER  ACCENTS  REGION COMMENTS
p225  23  F    English    Southern  England
p280  25  F    Unknown    France (mic2 files unavailable)
p362  29  F
s5  22  M    English    Surrey
"""


def write(folder, files):
    """Write files given by path and text; what is no text file is empty."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


# LibriSpeech


@pytest.fixture
def libri(tmp_path):
    files = {
        "SPEAKERS.TXT": SPEAKERS_TXT,
        "BOOKS.TXT": "",
        "dev-clean/19/198/19-198-0000.flac": "",
        "dev-clean/19/198/19-198-0001.flac": "",
        "dev-clean/19/198/19-198.trans.txt": "19-198-0000 NORTHANGER ABBEY\n19-198-0001 THIS LITTLE WORK\n",
        "train-clean-100/60/121/60-121-0000.wav": "",
        "train-clean-100/99/7/99-7-0000.flac": "",
    }
    return write(tmp_path / "LibriSpeech", files)


@pytest.mark.parametrize("where", [".", ".."])
def test_librispeech(libri, where):
    first, second, male, unlisted = corpora.load("librispeech", libri / where)
    assert (first.id, first.speaker, first.text) == ("19-198-0000", "19", "NORTHANGER ABBEY")
    assert first.path.samefile(libri / "dev-clean/19/198/19-198-0000.flac")
    assert first.labels == {"sex": "female", "subset": "dev-clean"}
    assert second.text == "THIS LITTLE WORK"
    assert (male.speaker, male.text) == ("60", "")
    assert male.labels == {"sex": "male", "subset": "train-clean-100"}
    assert (unlisted.speaker, unlisted.labels["sex"]) == ("99", "unknown")
    assert corpora.load("librispeech", libri / where, subsets=["dev-clean"]) == [first, second]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"SPEAKERS.TXT": "19 | X | dev-clean | 25.19 | Kara\n"},
            "SPEAKERS.TXT, line 1: not READER .* release",
        ),
        ({"SPEAKERS.TXT": "; a remark\n\n19 F dev-clean\n"}, "SPEAKERS.TXT, line 3: not READER"),
        ({"SPEAKERS.TXT": "19 | F | dev-clean\n"}, "SPEAKERS.TXT, line 1: not READER"),
        ({"SPEAKERS.TXT": "; nothing else\n"}, "SPEAKERS.TXT: no readers in it"),
        ({"SPEAKERS.TXT": b"19 | F | dev-clean | 25.19 | Andr\xe9\n"}, "SPEAKERS.TXT: not UTF-8"),
        ({"dev-clean/20/198/19-198-0000.flac": ""}, "layout of LibriSpeech .*: move it"),
        ({"dev-clean/19/19-198-0000.flac": ""}, "layout of LibriSpeech"),
        ({"dev-clean/19/198/hello.flac": ""}, "layout of LibriSpeech"),
        ({"hello.flac": ""}, "layout of LibriSpeech"),
        (
            {"dev-other/19/198/19-198-0000.flac": ""},
            "two files with one name: .*dev-clean.* and .*dev-other",
        ),
        ({"dev-clean/19/198/19-198-0000.wav": ""}, "two files with one name"),
    ],
)
def test_librispeech_refuses(libri, files, message):
    with pytest.raises(CorpusError, match=message) as caught:
        corpora.load("librispeech", write(libri, files))
    assert "\n" not in str(caught.value)


def test_librispeech_without_speakers_txt_can_be_read_by_speaker_alone(libri):
    (libri / "SPEAKERS.TXT").unlink()
    for folder in (libri, libri.parent, libri / "dev-clean"):
        with pytest.raises(CorpusError, match=r"no SPEAKERS.TXT in it.*`folder`"):
            corpora.load("librispeech", folder)
    assert {clip.speaker for clip in corpora.load("folder", libri / "train-clean-100")} == {
        "60",
        "99",
    }


def test_librispeech_names_the_subsets_there_are(libri):
    with pytest.raises(
        CorpusError,
        match="no subset 'test-clean': choose of dev-clean, train-clean-100, or --download",
    ):
        corpora.load("librispeech", libri, subsets=["test-clean"])


def test_librispeech_download(libri, record, tmp_path):
    folder, url = record
    with tarfile.open(folder / "dev.tar.gz", "w:gz") as file:
        for name in ("SPEAKERS.TXT", "dev-clean"):
            file.add(libri / name, f"LibriSpeech/{name}")
    archives = {
        "dev-clean": Archive(
            "dev.tar.gz", hashlib.md5((folder / "dev.tar.gz").read_bytes()).hexdigest()
        )
    }
    for audio in (tmp_path / "audio", tmp_path / "other" / "LibriSpeech"):
        librispeech.download(audio, ["dev-clean"], url, archives)
        assert len(corpora.load("librispeech", audio)) == 2
    for unclear in (None, ["dev-dirty"]):
        with pytest.raises(CorpusError, match="--subset: dev-clean, dev-other,"):
            librispeech.download(tmp_path / "no", unclear)
    (folder / "cut.tar.gz").write_bytes((folder / "dev.tar.gz").read_bytes()[:99])
    cut = {
        "dev-clean": Archive(
            "cut.tar.gz", hashlib.md5((folder / "cut.tar.gz").read_bytes()).hexdigest()
        )
    }
    with pytest.raises(CorpusError, match="not a whole archive"):
        librispeech.download(tmp_path / "cut", ["dev-clean"], url, cut)


# LibriTTS and LJSpeech


@pytest.fixture
def tts(tmp_path):
    files = {
        "LibriTTS/SPEAKERS.txt": ";READER|GENDER|SUBSET|NAME\n14   | F | train-clean-360 | Kristin |CBW| LeMoine\n",
        "LibriTTS/dev-clean/14/208/14_208_000001_000000.wav": "",
        "LibriTTS/dev-clean/14/208/14_208_000001_000000.normalized.txt": "Chapter fifteen.\n",
        "LibriTTS/dev-clean/14/208/14_208_000001_000000.original.txt": "Chapter 15.",
        "LibriTTS/dev-clean/15/1/15_1_000001_000002.wav": "",
        "LJSpeech-1.1/metadata.csv": "LJ001-0001|in 1465|in fourteen sixty-five\nLJ001-0002|as is |\nLJ9-1|gone|gone\n",
        "LJSpeech-1.1/wavs/LJ001-0001.wav": "",
        "LJSpeech-1.1/wavs/LJ001-0002.wav": "",
    }
    return write(tmp_path, files)


def test_libritts(tts):
    known, unlisted = corpora.load("libritts", tts)
    assert (known.id, known.speaker, known.text) == (
        "14_208_000001_000000",
        "14",
        "Chapter fifteen.",
    )
    assert known.labels == {"sex": "female", "subset": "dev-clean"}
    assert (unlisted.text, unlisted.labels["sex"]) == ("", "unknown")
    write(tts, {"LibriTTS/dev-clean/16/1/15_1_000001_000003.wav": ""})
    with pytest.raises(CorpusError, match=r"layout of LibriTTS .*: move it"):
        corpora.load("libritts", tts)


def test_ljspeech(tts):
    first, second = corpora.load("ljspeech", tts)
    assert (first.id, first.speaker, first.text) == ("LJ001-0001", "LJ", "in fourteen sixty-five")
    assert (second.text, second.labels) == ("as is", {"sex": "female"})
    write(tts, {"LJSpeech-1.1/wavs/mine.wav": ""})
    with pytest.raises(CorpusError, match=r"metadata\.csv lacks mine: move it"):
        corpora.load("ljspeech", tts / "LJSpeech-1.1")
    write(tts, {"LJSpeech-1.1/metadata.csv": "LJ001-0001 in 1465\n"})
    with pytest.raises(CorpusError, match=r"metadata\.csv, line 1: not NAME\|TEXT"):
        corpora.load("ljspeech", tts / "LJSpeech-1.1")


# VCTK


@pytest.fixture
def vctk_092(tmp_path):
    files = {
        "speaker-info.txt": SPEAKER_INFO,
        "txt/p225/p225_001.txt": "Please call Stella.\n",
        **{f"wav48_silence_trimmed/p225/p225_001_mic{i}.flac": "" for i in (1, 2)},
        **{
            f"wav48_silence_trimmed/{name}/{name}_002_mic1.flac": ""
            for name in ("p280", "p362", "p900", "s5")
        },
    }
    return write(tmp_path / "VCTK-Corpus-0.92", files)


@pytest.mark.parametrize("where", [".", ".."])
def test_vctk_092_is_read_by_its_first_microphone(vctk_092, where):
    first, *others = corpora.load("vctk", vctk_092 / where)
    assert (first.id, first.speaker, first.text) == ("p225_001", "p225", "Please call Stella.")
    assert first.path.name == "p225_001_mic1.flac"
    assert first.labels == {"sex": "female", "age": "23", "accent": "English"}
    assert [clip.id for clip in others] == ["p280_002", "p362_002", "p900_002", "s5_002"]
    assert [clip.labels["sex"] for clip in others] == ["female", "female", "unknown", "male"]
    assert [clip.labels["accent"] for clip in others] == [
        "unknown",
        "unknown",
        "unknown",
        "English",
    ]
    assert {clip.text for clip in others} == {""}


def test_vctk_080_writes_ids_without_their_letter(tmp_path):
    info = "ID  AGE  GENDER  ACCENTS  REGION\n225  23  F    English    Southern  England\n376  22  M    Indian\n"
    audio = {f"wav48/{name}/{name}_001.wav": "" for name in ("p225", "p376")}
    write(
        tmp_path,
        {"speaker-info.txt": info, "txt/p376/p376_001.txt": "Please call Stella.", **audio},
    )
    first, second = corpora.load("vctk", tmp_path)
    assert (first.id, first.text, first.labels["sex"]) == ("p225_001", "", "female")
    assert (second.id, second.text) == ("p376_001", "Please call Stella.")
    assert second.labels == {"sex": "male", "age": "22", "accent": "Indian"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"speaker-info.txt": "ID AGE GENDER ACCENTS REGION\np225 F 23\n"},
            "speaker-info.txt, line 2: not ID AGE",
        ),
        (
            {"speaker-info.txt": "ID AGE GENDER ACCENTS REGION\n"},
            "no speakers in it: take it from the release",
        ),
        ({"wav48_silence_trimmed/p225/p226_001_mic1.flac": ""}, "not a VCTK name .*: move it"),
        ({"wav48_silence_trimmed/p225/p225_001_mic3.flac": ""}, "not a VCTK name"),
        ({"wav48_silence_trimmed/p225/p225_001_mic1.wav": ""}, "two files with one name"),
        (
            {"../VCTK-Corpus/wav48/p225/p225_001.wav": ""},
            "holds both VCTK-Corpus and VCTK-Corpus-0.92: name one",
        ),
    ],
)
def test_vctk_refuses(vctk_092, files, message):
    write(vctk_092, files)
    with pytest.raises(CorpusError, match=message):
        corpora.load("vctk", vctk_092.parent)


def test_vctk_without_speaker_info(vctk_092):
    (vctk_092 / "speaker-info.txt").unlink()
    with pytest.raises(
        CorpusError, match=r"speaker-info.txt: No such file or directory: take it from the release"
    ):
        corpora.load("vctk", vctk_092)


def test_vctk_download(vctk_092, record, tmp_path):
    folder, url = record
    with zipfile.ZipFile(folder / "content", "w") as file:
        for path in vctk_092.rglob("*.*"):
            file.write(path, path.relative_to(vctk_092))
    archive = Archive("VCTK.zip", hashlib.md5((folder / "content").read_bytes()).hexdigest())
    vctk.download(tmp_path / "audio", f"{url}/content", archive)
    assert len(corpora.load("vctk", tmp_path / "audio")) == 5


# Kaldi


@pytest.fixture
def kaldi(tmp_path):
    files = {
        "WAVE/a.wav": "",
        "data/b.wav": "",
        "data/wav.scp": f"u2 b.wav\nu1\tWAVE/a.wav\nu3 {tmp_path}/WAVE/a.wav\n",
        "data/utt2spk": "u1 s1\nu2 s2\nu3 s1\nu4 s4\n",
        "data/text": "u1 WE CALL IT BEAR\nu2\n",
        "data/spk2gender": "s1 m\n",
        "data/spk2age": "s2\t7\n",
    }
    return write(tmp_path, files) / "data"


def test_kaldi(kaldi):
    first, second, third = corpora.load("kaldi", kaldi)
    assert (first.id, first.speaker, first.text) == ("u1", "s1", "WE CALL IT BEAR")
    assert first.labels == {"sex": "male", "age": "unknown"}
    assert second.labels == {"sex": "unknown", "age": "7"}
    assert (second.text, third.text) == ("", "")
    assert first.path == third.path == kaldi.parent / "WAVE/a.wav"
    assert second.path == kaldi / "b.wav"
    assert corpora.load("kaldi", kaldi.parent) == [first, second, third]


def test_kaldi_paths_from_within_the_data_folder(kaldi, monkeypatch):
    expected = corpora.load("kaldi", kaldi)
    monkeypatch.chdir(kaldi)
    assert corpora.load("kaldi", ".") == expected


def test_kaldi_needs_no_more_than_recordings_and_speakers(kaldi):
    for name in ("text", "spk2gender", "spk2age"):
        (kaldi / name).unlink()
    for clip in corpora.load("kaldi", kaldi):
        assert (clip.text, clip.labels) == ("", {"sex": "unknown", "age": "unknown"})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"wav.scp": "u1 sph2pipe -f wav a.sph |\n"},
            r"u1 is a command \(sph2pipe -f wav a.sph \|\).*wav-copy",
        ),
        (
            {"wav.scp": "u1 a.wav\nu2 b.wav\nu1 c.wav\n"},
            "line 3: u1 is listed twice, first in .*line 1: correct",
        ),
        ({"wav.scp": "u1\n"}, "line 1: u1 has no value"),
        (
            {"wav.scp": "u1 no.wav\nu2 none.wav\n"},
            "none of its 2 files is there .*no.wav.* relative",
        ),
        ({"wav.scp": ""}, "none of its 0 files"),
        ({"utt2spk": "u1 s1\nu2 s2\n"}, "no speaker for utterance u3: correct it"),
        ({"spk2gender": "s1 x\n"}, "speaker s1 is 'x': write f or m"),
        ({"segments": "u1 r1 0 1\n"}, "recordings to be cut: .*extract_segments"),
        ({"text": b"u1 \xff\n"}, "not UTF-8"),
    ],
)
def test_kaldi_refuses(kaldi, files, message):
    write(kaldi, files)
    with pytest.raises(CorpusError, match=message) as caught:
        corpora.load("kaldi", kaldi)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["wav.scp", "utt2spk"])
def test_kaldi_without_its_tables(kaldi, name):
    (kaldi / name).unlink()
    with pytest.raises(CorpusError, match=f"no {name} in it"):
        corpora.load("kaldi", kaldi)


# Folders, and what the command line says of speakers


def test_folder(tmp_path):
    write(tmp_path, {"bob/a.wav": "", "anna/2024/a.flac": "", "anna/b.wav": "", "readme.txt": ""})
    clips = corpora.load("folder", tmp_path)
    assert [(clip.id, clip.speaker) for clip in clips] == [
        ("anna/2024/a", "anna"),
        ("anna/b", "anna"),
        ("bob/a", "bob"),
    ]
    write(tmp_path, {"c.wav": ""})
    with pytest.raises(CorpusError, match=r"in no speaker's folder: move it to .*/SPEAKER/c.wav"):
        corpora.load("folder", tmp_path)


def test_folder_that_is_missing(tmp_path):
    for name, error in (
        ("folder", AudioError),
        ("librispeech", CorpusError),
        ("vctk", CorpusError),
    ):
        with pytest.raises(error, match="no such folder"):
            corpora.load(name, tmp_path / "missing")


def prepare(corpus, audio_dir, out):
    return command.main(
        [corpus, "--audio-dir", str(audio_dir), "--out", str(out), "--frontend.trim_db=none"]
    )


def test_one_speaker_is_prepared_with_a_note_and_cannot_be_split(tmp_path, capsys):
    (tmp_path / "audio/anna").mkdir(parents=True)
    for i in range(2):
        write_clip(tmp_path / f"audio/anna/{i}.wav", 0.3, i)
    assert prepare("folder", tmp_path / "audio", tmp_path / "out") == 0
    assert capsys.readouterr().err.startswith("note: one speaker only, anna: ")
    with pytest.raises(
        CorpusError, match="1 speakers cannot fill 3 sides of a split: add speakers"
    ):
        splits.by_speaker([clip.speaker for clip in corpora.load("folder", tmp_path / "audio")])


def test_a_missing_file_is_skipped_and_unknown_labels_are_told(kaldi, tmp_path, capsys):
    for i, path in enumerate((kaldi / "b.wav", kaldi.parent / "WAVE/a.wav")):
        write_clip(path, 0.3, i)
    with (kaldi / "wav.scp").open("a") as file:
        file.write("u4 gone.wav\n")
    assert prepare("kaldi", kaldi, tmp_path / "out") == 1
    output = capsys.readouterr()
    assert output.out.startswith("3 clips (0.0 min, 2 speakers)")
    notes = [line for line in output.err.splitlines() if line.startswith("note")]
    assert notes == [
        "note: sex is unknown for 2 of 3 speakers: s2, s4",
        "note: age is unknown for 2 of 3 speakers: s1, s4",
    ]
    assert f"skipped {kaldi / 'gone.wav'}: " in output.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["librispeech", "--download"],
            "error: which subsets to download? Name them with --subset: dev-clean, ",
        ),
        (["librispeech", "--subset", "none"], "no subset 'none'"),
        (["vctk"], "error: {} no wav48_silence_trimmed or wav48 in it"),
        (["kaldi"], "error: {} no wav.scp in it"),
    ],
)
def test_bad_input_is_one_line(libri, tmp_path, capsys, options, message):
    assert command.main([*options, "--audio-dir", str(libri), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message.format(f"{libri}:") in line
