"""The command line: what is printed where, and how it ends."""

import errno
import functools
import json
import os
import pathlib
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
import soundfile
from helpers.recordings import BAD, UNUSUAL, two_hours

import lin_jax
from lin_jax import bundles
from lin_jax.apps import cli
from lin_jax.audio import decoding, files
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.bundles import Prediction, Segment
from lin_jax.models.residual_classifier import ResidualClassifier

RATE = 8000


class Listener:
    """Stands in for a bundle: loud is angry."""

    task = "classification"

    def predict(self, path):
        samples, rate = files.read(path)
        return self._classify(samples, len(samples) / rate)

    def timeline(self, path):
        for second, block in enumerate(files.stream(path, RATE, block_seconds=1.0)):
            prediction = self._classify(block, 1.0)
            silent = not block.any()
            yield Segment(
                second,
                second + 1.0,
                None if silent else prediction.label,
                {} if silent else prediction.probabilities,
            )

    def _classify(self, samples, seconds):
        loudness = float(np.abs(samples).max())
        shares = {"calm": 0.9 * (1 - loudness), "angry": 0.9 * loudness, "sad": 0.1}
        return Prediction(max(shares, key=shares.get), shares, seconds)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A quiet clip, a loud clip and a text file that calls itself a recording."""
    monkeypatch.setattr(lin_jax, "load", lambda name: Listener())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    for name, loudness in (("quiet", 0.125), ("loud", 0.875)):
        files.write(tmp_path / f"clips/{name}.wav", np.full(2 * RATE, loudness, np.float32), RATE)
    (tmp_path / "clips/notes.wav").write_text("not sound at all")
    return tmp_path


def run(capsys, *argv):
    code = cli.main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


def test_one_line_a_file(folder, capsys):
    code, out, err = run(capsys, "emotion", "clips/loud.wav", "clips/quiet.wav")
    assert (code, err) == (0, [])
    assert [line.split() for line in out] == [
        ["clips/loud.wav", "angry", "79%", "calm", "11%,", "sad", "10%"],
        ["clips/quiet.wav", "calm", "79%", "angry", "11%,", "sad", "10%"],
    ]


def test_bad_file_in_a_folder_is_named_and_the_rest_goes_on(folder, capsys):
    code, out, err = run(capsys, "emotion", "clips", "--json")
    rows = [json.loads(line) for line in out]
    assert code == 1
    assert [set(row) for row in rows] == [
        {"file", "emotion", "probability", "probabilities", "seconds", "note"}
    ] * 2
    assert {row["file"]: (row["emotion"], row["seconds"]) for row in rows} == {
        "clips/loud.wav": ("angry", 2.0),
        "clips/quiet.wav": ("calm", 2.0),
    }
    assert err[0].startswith("lin: clips/notes.wav: not readable as audio")
    assert err[1:] == ["lin: 1 of 3 could not be used, see above; the others were done"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["clips/notes.wav"], "lin: clips/notes.wav: not readable as audio"),
        (["nowhere.wav", "clips/notes.wav"], "lin: nowhere.wav: no such file"),
        (["empty"], "lin: empty: no audio files"),
    ],
)
def test_nothing_done_is_exit_code_2(folder, capsys, inputs, message):
    (folder / "empty").mkdir()
    code, out, err = run(capsys, "emotion", *inputs)
    assert (code, out, len(err)) == (2, [], len(inputs))
    assert err[0].startswith(message)


def test_a_recording_that_nobody_may_read_is_named_and_the_rest_goes_on(
    folder, capsys, monkeypatch
):
    head = decoding._head

    def forbidden(path, *size):
        if path.endswith("quiet.wav"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return head(path, *size)

    monkeypatch.setattr(decoding, "_head", forbidden)
    code, out, err = run(capsys, "emotion", "clips/quiet.wav", "clips/loud.wav")
    assert (code, len(out)) == (1, 1)
    assert err[0].startswith("lin: clips/quiet.wav: cannot be read (Permission denied); check")


def test_without_a_command_it_lists_them(capsys):
    code, out, err = run(capsys)
    assert (code, out) == (2, [])
    assert any(line.split()[:1] == ["emotion"] for line in err)


def test_missing_bundle_is_one_line(folder, capsys, monkeypatch):
    monkeypatch.undo()
    code, out, err = run(capsys, "emotion", str(folder / "clips/loud.wav"), "--model", str(folder))
    assert (code, out, len(err)) == (2, [], 1)
    assert "no bundle here; give a folder with a bundle.json" in err[0]


def test_timeline_joins_what_stays_the_same(folder, capsys):
    loudness = np.repeat([0.125, 0.125, 0.0, 0.75, 0.875], RATE)
    files.write("talk.wav", loudness.astype(np.float32), RATE)
    code, out, _ = run(capsys, "emotion", "--timeline", "talk.wav")
    assert code == 0
    assert out == [
        "talk.wav  0:00:05.0",
        "  0:00:00.0 – 0:00:02.0  calm        79%",
        "  0:00:02.0 – 0:00:03.0  (silence)",
        "  0:00:03.0 – 0:00:05.0  angry       73%",
    ]
    code, out, _ = run(capsys, "emotion", "--timeline", "--json", "talk.wav", "clips/notes.wav")
    rows = [json.loads(line) for line in out]
    assert code == 1
    assert [(row["start"], row["end"], row["emotion"]) for row in rows[1:4]] == [
        (1, 2, "calm"),
        (2, 3, None),
        (3, 4, "angry"),
    ]


def test_timeline_of_an_unusable_recording_prints_nothing(folder, capsys):
    soundfile.write("nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    code, out, err = run(capsys, "emotion", "--timeline", "nan.wav")
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("lin: nan.wav: holds NaN")


def test_gender_may_be_unsure_and_says_when_nobody_speaks(folder, capsys, monkeypatch):
    predictions = iter(
        [
            Prediction("female", {"female": 0.97, "male": 0.02, "no speech": 0.01}, 1.0),
            Prediction("unsure", {"female": 0.42, "male": 0.55, "no speech": 0.03}, 1.0),
            Prediction("no speech", {"female": 0.0, "male": 0.0, "no speech": 1.0}, 1.0),
        ]
        * 2
    )
    monkeypatch.setattr(Listener, "predict", lambda self, path: next(predictions))
    for name in ("a.wav", "b.wav", "c.wav"):
        (folder / name).touch()
    code, out, _ = run(capsys, "gender", "a.wav", "b.wav", "c.wav")
    assert code == 0
    assert out == [
        "a.wav  female      97%   male 2%, no speech 1%",
        "b.wav  unsure            male 55%, female 42%",
        "c.wav  no speech  100%   female 0%, male 0%",
    ]
    _, out, _ = run(capsys, "gender", "--json", "a.wav", "b.wav", "c.wav")
    assert [(row["gender"], row["probability"]) for row in map(json.loads, out)] == [
        ("female", 0.97),
        ("unsure", 0.55),
        ("no speech", 1.0),
    ]
    assert json.loads(out[1])["probabilities"]["female"] == 0.42, "a score where there is no label"


def test_a_note_stands_beside_the_answer(folder, capsys, monkeypatch):
    prediction = Prediction("calm", {"calm": 0.8, "sad": 0.2}, 1.0, "of acted speech")
    monkeypatch.setattr(Listener, "predict", lambda self, path: prediction)
    _, out, _ = run(capsys, "emotion", "clips/loud.wav")
    assert out == ["clips/loud.wav  calm        80%   sad 20%   (of acted speech)"]
    _, out, _ = run(capsys, "emotion", "--json", "clips/loud.wav")
    assert json.loads(out[0])["note"] == "of acted speech"


def test_timeline_of_gender_joins_what_is_unsure(folder, capsys, monkeypatch):
    shares = [
        {"female": 0.9, "male": 0.1},
        {"female": 0.6, "male": 0.4},
        {"female": 0.5, "male": 0.5},
        {},
    ]
    labels = ["female", "unsure", "unsure", None]
    segments = [Segment(i, i + 1.0, label, shares[i]) for i, label in enumerate(labels)]
    monkeypatch.setattr(Listener, "timeline", lambda self, path: iter(segments))
    code, out, _ = run(capsys, "gender", "--timeline", "clips/loud.wav")
    assert code == 0
    assert [line[25:].strip() for line in out[1:]] == ["female      90%", "unsure", "(silence)"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A small one with random weights."""
    config, model = FrontendConfig(), ResidualClassifier(2, widths=(4,), blocks=(1,), hidden=4)
    D = config.num_features
    init = jax.jit(functools.partial(model.init, train=False))
    variables = init(jax.random.key(0), np.zeros((1, 99, D)), np.array([99]))
    mean, std = np.full(D, -30.0), np.full(D, 12.0)
    made = bundles.Classifier(
        "mood", model, config, jax.tree.map(np.asarray, variables), mean, std, ("calm", "angry")
    )
    return str(bundles.save(tmp_path_factory.mktemp("bundle") / "mood", made, ""))


@pytest.mark.parametrize("options", [[], ["--timeline"]], ids=["whole", "timeline"])
def test_every_bad_recording_is_one_line_and_the_unusual_are_heard(
    tmp_path, capsys, bundle, options
):
    makers = {name: make for name, (make, _) in BAD.items()} | UNUSUAL | {"two hours": two_hours}
    for name, make in makers.items():
        make(tmp_path / f"{name}.wav")
    paths = {name: str(tmp_path / f"{name}.wav") for name in makers}
    code, out, err = run(capsys, "emotion", "--json", "--model", bundle, *options, *paths.values())
    assert code == 1
    answered = {json.loads(line)["file"] for line in out}
    silent = {paths["all zeros"]} if options else set()  # a timeline says when nothing is heard
    assert answered == {paths[name] for name in UNUSUAL} | {paths["two hours"]} | silent
    # Folders are looked through, and what is missing is named, before the model is loaded.
    first = [name for name in paths if name in ("folder", "missing")]
    bad = [name for name in BAD if paths[name] not in answered and name not in first]
    messages = {name: message for name, (_, message) in BAD.items()} | {"folder": "no audio files"}
    expected = {paths[name]: messages[name] for name in (*first, *bad)}
    assert len(err) == len(expected) + 1, "the last one counts them"
    for line, (path, message) in zip(err, expected.items(), strict=False):
        assert line.startswith(f"lin: {path}: ")
        assert message in line


def test_standard_input_is_a_recording(folder, capsys, monkeypatch):
    decoding._copied.cache_clear()
    with open("clips/loud.wav", "rb") as file:
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=file))
        code, out, err = run(capsys, "emotion", "-")
    decoding._copied.cache_clear()
    assert (code, err) == (0, [])
    assert out[0].split()[:3] == ["-", "angry", "79%"]


MISSING = (  # recordings, by every command that takes them
    "emotion gone.wav",
    "gender --timeline gone.wav",
    "verify gone.wav --with gone.wav",
    "embed gone.wav --out voices.npz",
    "enroll Anna gone.wav --gallery gallery",
    "detect gone.wav",
    "repair gone.wav --in-place",
    "convert gone.wav --out out.wav",
    "convert here.wav --voice gone.wav --out out.wav",
    "speak Hello --voice gone.wav --out out.wav",
    "speak Hello --voice gone/anna --out -",
    "speak --text-file gone.txt --out out.wav",
    "voice save anna gone.wav --i-may-use-this-voice",
)
HEAVY = ("jax", "flax", "scipy", "av", "soundfile", "soxr", "librosa", "fastapi", "lin_jax.bundles")
WITHOUT_LIBRARIES = f"""
import sys
from lin_jax.apps import cli

for command in sys.argv[1:]:
    print(cli.main(command.split()), *(name for name in {HEAVY} if name in sys.modules))
"""


def test_a_missing_file_is_named_before_libraries_are_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    pathlib.Path("here.wav").touch()
    program = [sys.executable, "-c", WITHOUT_LIBRARIES, *MISSING]
    ended = subprocess.run(program, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == ["2"] * len(MISSING)
    sides = 2  # of lin verify
    assert len(ended.stderr.splitlines()) == len(MISSING) - 1 + sides
    for line in ended.stderr.splitlines():
        assert line.startswith("lin: gone")
        assert line.endswith("check the path")


def test_interrupt_is_exit_code_130(folder, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Listener, "predict", interrupt)
    assert run(capsys, "emotion", "clips/loud.wav") == (130, [], [])


@pytest.mark.parametrize("command", cli.commands(), ids=lambda command: command.name)
def test_help_teaches_every_command(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command.name, "--help"])
    taught = capsys.readouterr().out
    assert f"lin {command.name} " in taught
    assert "examples:" in taught
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert command.summary in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"lin_jax {lin_jax.__version__}\n"


def test_what_was_compiled_is_found_again(monkeypatch, tmp_path, capsys):
    """Under the home folder, unless somebody chose another place."""
    chosen_by_jax = {}
    monkeypatch.setattr(jax.config, "update", chosen_by_jax.__setitem__)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(lin_jax, "load", lambda name: Listener())
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    for chosen in (None, "elsewhere"):
        if chosen:
            monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", chosen)
        assert cli.main(["emotion", "missing.wav"]) == 2
        where = pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
        assert (
            where == pathlib.Path(chosen)
            if chosen
            else where.parent == tmp_path / ".lin_jax/compiled"
        )
    assert (
        pathlib.Path(chosen_by_jax["jax_compilation_cache_dir"]).parent
        == tmp_path / ".lin_jax/compiled"
    )
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert cli.main(["emotion", "missing.wav"]) == 2
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ, "nothing can be written there"
    capsys.readouterr()
