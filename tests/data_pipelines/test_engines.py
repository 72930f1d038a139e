"""Engines: where the work is done changes nothing of what it makes."""

import dataclasses
import pickle
import subprocess
import sys
import types

import pytest
from helpers.noise_corpus import FRONTEND, make_corpus
from tensorflow_datasets.core.utils import shard_utils

from data_pipelines import __main__ as command
from data_pipelines import engines, features
from lin_jax.errors import ConfigError, FeatureError

PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture
def beam():
    return pytest.importorskip("apache_beam", reason="Apache Beam: pip install 'lin_jax[beam]'")


@pytest.fixture
def no_time(monkeypatch):
    """The report tells no seconds, in which alone two runs differ."""
    monkeypatch.setattr(features, "time", types.SimpleNamespace(perf_counter=lambda: 0.0))


def prepare(corpus, out, **options):
    return features.prepare(corpus, out, FRONTEND, progress=False, **options)


def content(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(params=["stand-in", "Beam"])
def engine(request, monkeypatch):
    """Beam, and where it is not installed what it does with items."""
    if request.param == "Beam":
        return request.getfixturevalue("beam")

    def stand_in(work, items):
        for item in reversed(items):
            pickle.loads(pickle.dumps(work))(pickle.loads(pickle.dumps(item)))

    monkeypatch.setattr(engines, "beam", lambda options, folder: stand_in)


@pytest.mark.usefixtures("engine", "no_time")
@pytest.mark.parametrize("store", features.STORES)
def test_any_engine_writes_the_bytes_of_the_local_path(tmp_path, corpus, monkeypatch, store):
    """Of several shards and record files, and one recording that is skipped."""
    monkeypatch.setattr(features, "SHARD", 4)
    monkeypatch.setattr(shard_utils.ShardConfig, "min_shard_size", 10_000)
    broken = make_corpus(tmp_path / "more", 1)[0]
    broken.path.write_text("no sound")
    corpus = [*corpus[:5], dataclasses.replace(broken, id="broken"), *corpus[5:]]
    reports = [
        prepare(corpus, tmp_path / "local", store=store),
        prepare(corpus, tmp_path / "beam", store=store, beam=()),
    ]
    assert reports[0] == reports[1]
    assert [path for path, _ in reports[1].skipped] == [str(broken.path)]
    assert content(tmp_path / "local") == content(tmp_path / "beam")
    assert len(list((tmp_path / "beam/records").glob("*array_record*"))) > 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beam", "local", "more"]


def test_processes_of_beam_write_the_same(tmp_path, beam, capsys):
    """By the command; again, it is done at once."""
    make_corpus(tmp_path / "audio", 3)
    rows = "".join(f"clip0{i}.wav,s{i}\n" for i in range(3))
    (tmp_path / "audio/table.csv").write_text("path,speaker\n" + rows)

    def run(out, *options):
        folders = ["--audio-dir", str(tmp_path / "audio"), "--out", str(tmp_path / out)]
        assert command.main(["table", *folders, *options]) == 0

    run("beam", "--beam", *PROCESSES)
    run("beam", "--beam", "--runner=DirectRunner")
    assert capsys.readouterr().out.count("3 clips (0.0 min, 3 speakers) are in ") == 2
    run("local")
    assert content(tmp_path / "beam/records") == content(tmp_path / "local/records")


def test_what_stops_is_gone_on_with(tmp_path, corpus, beam, monkeypatch):
    """Finished shards are kept, for either path, and nothing is at the place of the set."""
    monkeypatch.setattr(features, "SHARD", 4)
    load, loaded = features._load_waveform, []

    def stops(frontend, utterance):
        if utterance.id == corpus[9].id:
            raise ValueError("the machine is gone")
        return load(frontend, utterance)

    monkeypatch.setattr(features, "_load_waveform", stops)
    with pytest.raises(FeatureError, match=r"Beam failed \(.*machine is gone.*\): run again: what"):
        prepare(corpus, tmp_path / "out", beam=())
    assert not (tmp_path / "out").exists()
    kept = len(list((tmp_path / "out.partial").glob("*.npz")))

    def counts(frontend, utterance):
        loaded.append(utterance.id)
        return load(frontend, utterance)

    monkeypatch.setattr(features, "_load_waveform", counts)
    prepare(corpus, tmp_path / "out")
    assert len(loaded) == len(corpus) - 4 * kept
    assert prepare(corpus, tmp_path / "out", beam=()).written == len(corpus)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--runner=NoRunner", "Unexpected pipeline runner: NoRunner"),
        ("--runer=DirectRunner", "it does not know runer"),
        ("--direct_num_workers=two", "invalid int value: 'two'"),
    ],
)
def test_wrong_options_are_refused_before_any_work(tmp_path, corpus, beam, option, message):
    with pytest.raises(ConfigError, match=f"options of Apache Beam: .*{message}"):
        prepare(corpus, tmp_path / "out", beam=[option])
    assert not list(tmp_path.iterdir())


def test_without_beam_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ConfigError, match=r"not installed: pip install 'lin_jax\[beam\]'"):
        engines.beam([], tmp_path)


def test_the_command_starts_without_beam():
    code = "import sys, data_pipelines.__main__; sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
