"""Feature sets: the values are the front end's, bad recordings are reported, and nothing finished
is ever lost.
"""

import dataclasses
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.damage import flipped_bits
from helpers.noise_corpus import FRONTEND, make_corpus, reference, write_clip
from helpers.power import cuts
from helpers.recordings import BAD, UNUSUAL, two_hours

from data_pipelines import features, loaders
from data_pipelines.corpora import Utterance
from lin_jax import locks
from lin_jax.audio import files
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import ConfigError, CorpusError, FeatureError


@pytest.fixture
def loads(monkeypatch):
    """Counts the recordings that are read."""
    read = []
    load = files.load
    monkeypatch.setattr(
        files, "load", lambda path, *args, **rest: read.append(path) or load(path, *args, **rest)
    )
    return read


def prepare(corpus, out, frontend=FRONTEND, **options):
    return features.prepare(corpus, out, frontend, progress=False, **options)


def test_values_are_the_front_ends(feature_set, corpus):
    for index in (0, 7, 21, -1):
        waveform = files.load(corpus[index].path, FRONTEND)
        item = feature_set[index]
        if feature_set.store == "waveform":
            np.testing.assert_allclose(
                item["waveform"], waveform, atol=np.abs(waveform).max() / 60000
            )
        else:
            np.testing.assert_allclose(item["features"], reference(waveform), rtol=1e-5, atol=1e-3)
            assert len(item["features"]) == feature_set.lengths[index]
    with pytest.raises(IndexError):
        feature_set[len(feature_set)]


def test_rows_labels_and_statistics(feature_set, corpus):
    assert [row["id"] for row in feature_set.rows] == [utterance.id for utterance in corpus]
    assert feature_set.speakers.tolist() == [utterance.speaker for utterance in corpus]
    classes, names = feature_set.labels("emotion")
    assert names == ("happy", "sad")
    assert [names[i] for i in classes] == [utterance.labels["emotion"] for utterance in corpus]
    assert feature_set.labels("emotion", ("sad", "happy", "calm"))[0].tolist() == [0, 1] * 11
    for wrong in (("age",), ("emotion", ("sad",))):
        with pytest.raises(
            FeatureError, match=r"choose one of speaker, emotion|add it to the classes"
        ):
            feature_set.labels(*wrong)

    arrays = [reference(files.load(u.path, FRONTEND)) for u in corpus]
    mean, std = feature_set.mean_std()
    np.testing.assert_allclose(mean, np.concatenate(arrays).mean(0), rtol=1e-4)
    np.testing.assert_allclose(std, np.concatenate(arrays).std(0), rtol=1e-3)
    two = np.concatenate([arrays[3], arrays[5]])
    np.testing.assert_allclose(feature_set.mean_std([3, 5])[0], two.mean(0), rtol=1e-4)
    stats = feature_set.stats
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-6)
    assert stats["clips"] == 22
    assert stats["labels"] == {"emotion": {"happy": 11, "sad": 11}}
    assert stats["speakers"] == {"s0": 5, "s1": 5, "s2": 4, "s3": 4, "s4": 4}
    assert stats["seconds"]["sum"] == pytest.approx(
        sum(files.duration(u.path) for u in corpus), abs=0.01
    )


def test_bad_recordings_are_skipped_and_reported(tmp_path):
    """One by one and with the reason, while good ones, however unusual, are taken."""
    makers = {name: make for name, (make, _) in BAD.items()} | {"two hours": two_hours} | UNUSUAL
    for name, make in makers.items():
        make(tmp_path / f"{name}.wav")
    corpus = [Utterance(str(i), tmp_path / f"{name}.wav", "s") for i, name in enumerate(makers)]
    report = prepare(corpus, tmp_path / "out")
    reasons = {name: message for name, (_, message) in BAD.items()} | {
        "two hours": "7200 s long.*: cut it"
    }
    assert [path for path, _ in report.skipped] == [
        str(tmp_path / f"{name}.wav") for name in reasons
    ]
    for (path, reason), message in zip(report.skipped, reasons.values(), strict=True):
        assert re.fullmatch(f".*{message}.*", reason.removeprefix(path)), reason
    assert json.loads((tmp_path / "out/report.json").read_text()) == dataclasses.asdict(report)
    taken = features.open_features(tmp_path / "out")
    assert [row["path"] for row in taken.rows] == [
        str(tmp_path / f"{name}.wav") for name in UNUSUAL
    ]
    assert np.isfinite(taken.mean_std()).all()


def test_nothing_usable(tmp_path):
    BAD["all zeros"][0](tmp_path / "a.wav")
    with pytest.raises(FeatureError, match=r"no recording of 1 could be used.*silent"):
        prepare([Utterance("a", tmp_path / "a.wav", "s")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_run_again(tmp_path, loads):
    corpus = make_corpus(tmp_path / "audio", 4)
    report = prepare(corpus, tmp_path / "out")
    assert prepare(corpus, tmp_path / "out") == report
    assert len(loads) == 4
    write_clip(corpus[1].path, 0.8, 9)
    prepare(corpus, tmp_path / "out")
    assert features.open_features(tmp_path / "out").rows[1]["seconds"] == pytest.approx(0.8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audio", "out"]


def test_another_front_end_is_refused(tmp_path, feature_set, corpus):
    other = FrontendConfig(n_mels=40, trim_db=None)
    for call in (
        lambda: features.open_features(feature_set.folder, other),
        lambda: prepare(corpus, feature_set.folder, other, store=feature_set.store),
    ):
        with pytest.raises(
            FeatureError, match=r"another front end, n_mels 20 \(asked: 40\): .* another folder"
        ):
            call()


def test_a_folder_that_is_something_else(tmp_path, feature_set, corpus):
    other = {"features": "waveform", "waveform": "features"}[feature_set.store]
    with pytest.raises(FeatureError, match="choose another folder"):
        prepare(corpus, feature_set.folder, store=other)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/a.txt").touch()
    for there in ("letters", "letters/a.txt"):
        with pytest.raises(FeatureError, match="is no feature set: choose another folder"):
            prepare(corpus, tmp_path / there)
    with pytest.raises(FeatureError, match="no feature set: make one with"):
        features.open_features(tmp_path / "letters")
    with pytest.raises(ConfigError, match="unknown store"):
        prepare(corpus, tmp_path / "new", store="mp3")
    make_corpus(tmp_path / "new.partial", 1)
    with pytest.raises(FeatureError, match="in the way"):
        prepare(corpus, tmp_path / "new")
    with pytest.raises(CorpusError, match="different labels"):
        prepare([corpus[0], dataclasses.replace(corpus[1], labels={})], tmp_path / "new")


def same(first, second):
    assert first.rows == second.rows
    for index in range(len(first)):
        np.testing.assert_array_equal(first[index][first.store], second[index][second.store])


@pytest.mark.parametrize("limit", [10_000, 60_000])  # in a shard; in the records
def test_full_disk_loses_nothing(tmp_path, corpus, feature_set, monkeypatch, loads, limit):
    monkeypatch.setattr(features, "SHARD", 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (limit * (1 + (feature_set.store == "waveform")), hard)
    )
    try:
        with pytest.raises(
            FeatureError, match=r"cannot write .*out .*too large.*: free space .* is kept"
        ):
            prepare(corpus, tmp_path / "out", store=feature_set.store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "out").exists()
    with pytest.raises(FeatureError, match="not finished yet: run the command"):
        features.open_features(tmp_path / "out")
    kept = 2 * len(list((tmp_path / "out.partial").glob("*.npz")))
    loads.clear()
    prepare(corpus, tmp_path / "out", store=feature_set.store)
    assert len(loads) == len(corpus) - kept
    same(features.open_features(tmp_path / "out"), feature_set)


KILLED = """
import sys, time
from pathlib import Path
from data_pipelines import features, loaders
from data_pipelines.corpora import table
from lin_jax.audio import files
from helpers.damage import flipped_bits
from helpers.power import cuts
from helpers.noise_corpus import FRONTEND
load = files.load
files.load = lambda *args, **rest: time.sleep(0.05) or load(*args, **rest)
features.SHARD = 2
features.prepare(list(table.load(Path(sys.argv[1]))), sys.argv[2], FRONTEND, progress=False)
"""


@pytest.mark.parametrize("feature_set", ["features"], indirect=True)
def test_killed_and_resumed_equals_never_killed(tmp_path, corpus, feature_set, monkeypatch, loads):
    rows = [f"{u.path},{u.speaker},{u.text},{u.labels['emotion']}" for u in corpus]
    (tmp_path / "table.csv").write_text("\n".join(["path,speaker,text,emotion", *rows]))
    out = tmp_path / "out"
    paths = os.pathsep.join([os.getcwd(), os.path.dirname(os.path.dirname(__file__))])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path, out], env=os.environ | {"PYTHONPATH": paths}
    )
    while len(list(tmp_path.glob("out.partial/*.npz"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (tmp_path / "out.partial/000001.npz").write_bytes(b"cut by a power failure")
    kept = 2 * (len(list(tmp_path.glob("out.partial/*.npz"))) - 1)

    monkeypatch.setattr(features, "SHARD", 2)
    utterances = [dataclasses.replace(u, id=os.path.splitext(u.path)[0]) for u in corpus]
    prepare(utterances, out)
    assert len(loads) == len(corpus) - kept
    resumed = features.open_features(out)
    assert [row["text"] for row in resumed.rows] == [row["text"] for row in feature_set.rows]
    for index in range(len(corpus)):
        np.testing.assert_array_equal(resumed[index]["features"], feature_set[index]["features"])
    prepare(utterances, tmp_path / "never")
    reports = ("report.json", "frontend.json")  # the one tells seconds, the other its checksum
    files_of = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (out, tmp_path / "never")
    ]
    killed, never = ({k: v for k, v in f.items() if k.name not in reports} for f in files_of)
    assert len(never) == 6
    assert killed == never


def test_after_a_power_cut_it_goes_on_to_the_same_end(tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(features, "SHARD", 2)
    (tmp_path / "folder").mkdir()
    with cuts(tmp_path / "folder", tmp_path / "copies") as copies:
        prepare(corpus[:4], tmp_path / "folder/out")
    whole = features.open_features(tmp_path / "folder/out")
    assert sum((copy / "out").exists() for copy in copies) >= 1
    for copy in copies:
        prepare(corpus[:4], copy / "out")
        resumed = features.open_features(copy / "out")
        assert resumed.rows == whole.rows
        np.testing.assert_array_equal(resumed._moments, whole._moments)
        for index in range(4):
            np.testing.assert_array_equal(resumed[index]["features"], whole[index]["features"])


def test_every_flipped_bit_is_noticed(tmp_path, corpus):
    """Or it is a bit of the records' padding, on which nothing depends."""
    prepare(corpus[:6], tmp_path / "out")
    whole = features.open_features(tmp_path / "out")
    clips, moments, silent = [whole[index]["features"] for index in range(6)], whole._moments, 0
    paths = [path for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()]
    assert len(paths) == 8
    for path in paths:
        for bit in flipped_bits(path, 12):
            try:
                prepare(corpus[:6], tmp_path / "out")
                damaged = features.open_features(tmp_path / "out")
                np.testing.assert_array_equal(damaged._moments, moments)
                for index in range(6):
                    np.testing.assert_array_equal(damaged[index]["features"], clips[index])
            except FeatureError as error:
                message = str(error)
            else:
                silent += 1
                assert "array_record" in path.name, (path, bit)
                continue
            assert "\n" not in message
    assert silent < 12


def test_damage_to_what_a_stopped_run_left_costs_that(tmp_path, corpus, monkeypatch, loads):
    monkeypatch.setattr(features, "SHARD", 2)
    monkeypatch.setattr(features, "_write_set", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(corpus[:6], tmp_path / "out")
    shard = tmp_path / "out.partial/000001.npz"
    flips = flipped_bits(shard, 1)
    next(flips)
    with pytest.raises(ZeroDivisionError):
        prepare(corpus[:6], tmp_path / "out")
    assert len(loads) == 8


def test_one_process_at_a_time(tmp_path, corpus):
    with (
        locks.hold(tmp_path / "out"),
        pytest.raises(FeatureError, match=f"out: in use by process {os.getpid()} on .*; wait"),
    ):
        prepare(corpus[:2], tmp_path / "out")


def test_corrupt_record_is_named_and_the_others_read(tmp_path, corpus):
    prepare(corpus[:6], tmp_path / "out")
    (path,) = (tmp_path / "out/records").glob("*array_record*")
    content = bytearray(path.read_bytes())
    content[5000:5040] = bytes(40)
    path.write_bytes(content)
    broken, messages = features.open_features(tmp_path / "out"), []
    for index in range(6):
        try:
            assert np.isfinite(broken[index]["features"]).all()
        except FeatureError as error:
            messages.append(str(error))
    assert len(messages) == 1
    assert "is corrupt: delete the folder and prepare it again" in messages[0]
    with pytest.raises(FeatureError, match="is corrupt"):
        list(
            loaders.make_loader(
                broken, range(6), None, loaders.LoaderConfig(batch_size=2), train=False
            )
        )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", "{"),
        ("rows.jsonl", "{}"),
        ("stats.json", "{"),
        ("moments.npy", "{"),
        ("frontend.json", "{}"),
        ("frontend.json", '{"store": "features", "corpus": "", "frontend": {"n_mels": "many"}}'),
        ("report.json", ""),
        ("records/dataset_info.json", "{"),
    ],
)
def test_broken_set(tmp_path, corpus, name, content):
    prepare(corpus[:2], tmp_path / "out")
    (tmp_path / "out" / name).write_text(content)

    def use():
        prepare(corpus[:2], tmp_path / "out")  # done already, so that it only says what it did
        features.open_features(tmp_path / "out").mean_std()

    with pytest.raises(
        FeatureError, match=r"broken feature set .*: delete the folder and prepare it again"
    ) as caught:
        use()
    assert "\n" not in str(caught.value)


def test_any_text_is_kept(tmp_path):
    """Also what some programs take for the end of a line."""
    (utterance,) = make_corpus(tmp_path / "audio", 1)
    prepare([dataclasses.replace(utterance, text="Да\u2028\x85!")], tmp_path / "out")
    assert features.open_features(tmp_path / "out").rows[0]["text"] == "Да\u2028\x85!"
