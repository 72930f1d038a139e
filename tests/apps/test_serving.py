"""The HTTP API, asked by FastAPI's test client; nothing reaches a network."""

import io
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import types
import urllib.parse

import numpy as np
import pytest
import soundfile
from fastapi import testclient
from helpers import repairers, synthesizers, verifiers
from helpers.recordings import BAD, tone

from lin_jax import apps, bundles
from lin_jax.apps import api, cli, serve, serving
from lin_jax.apps.workers import BusyError, WorkEndedError
from lin_jax.audio import files
from lin_jax.bundles import Prediction
from lin_jax.errors import BundleError, ConfigError


class Listener:
    """Stands in for a classifier: it hears the loudness."""

    task, name = "classification", "gender"

    def predict(self, path):
        samples, rate = files.read(path)
        files.check(samples, str(path), min_samples=400)
        share = round(float(abs(samples).max()), 3)
        return Prediction("loud", {"loud": share, "soft": 1 - share}, len(samples) / rate)


@pytest.fixture(scope="module")
def hummer():
    return synthesizers.Hummer()


@pytest.fixture(scope="module")
def client(hummer):
    served = Listener(), verifiers.verifier(), repairers.repairer(repairers.Gain(0.5)), hummer
    models = serving.assign([serving.Model(bundle, "") for bundle in served])
    with testclient.TestClient(api.create(models), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def sound(tmp_path, monkeypatch):
    """Some recordings in the working folder, and a function that reads one as an upload."""
    monkeypatch.chdir(tmp_path)
    files.write("loud.wav", tone(), 16000)
    for speaker, letter in enumerate("ab"):
        for seed in range(2):
            files.write(f"{letter}{seed}.wav", verifiers.voice(speaker, 1.5, seed), verifiers.RATE)
    return lambda field, name: (field, (f"/their/home/{name}", (tmp_path / name).read_bytes()))


def test_answers_as_the_command_line_does(client, sound):
    answer = client.post("/gender", files=[sound("file", "loud.wav")])
    prediction = Listener().predict("loud.wav")
    assert answer.status_code == 200
    assert answer.json() == {
        "file": "loud.wav",
        "gender": "loud",
        "probability": prediction.probability,
        "seconds": prediction.seconds,
        "probabilities": pytest.approx(prediction.probabilities),
        "note": prediction.note,
    }


def test_compares_sides_of_several_recordings(client, sound):
    names = [("a", "a0.wav"), ("a", "a1.wav"), ("b", "b0.wav")]
    answer = client.post("/verify", files=[sound(*name) for name in names]).json()
    assert (answer["a"], answer["b"], answer["decision"]) == (
        ["a0.wav", "a1.wav"],
        ["b0.wav"],
        "different",
    )
    files.write("twin.wav", files.read("a0.wav")[0], verifiers.RATE)
    twins = client.post("/verify", files=[sound("a", "a0.wav"), sound("b", "twin.wav")]).json()
    assert twins["decision"] == "same"
    assert twins["reason"].startswith("a0.wav and twin.wav are the same recording"), (
        "without the folder they lie in here"
    )


@pytest.mark.parametrize("name", [name for name in BAD if name not in ("missing", "folder")])
def test_a_bad_recording_is_one_line(client, sound, tmp_path, name):
    make, message = BAD[name]
    make(tmp_path / "bad.wav")
    for address, sides in (
        ("/gender", ["file"]),
        ("/verify", ["a", "b"]),
        ("/repair", ["file"]),
        ("/convert", ["file"]),
        ("/speak", ["voice"]),
    ):
        if address == "/repair" and name in ("one sample", "all zeros"):
            continue  # nothing is wrong with these
        answer = client.post(
            address,
            files=[sound(side, "bad.wav") for side in sides],
            data={"text": "Yes.", "consent": "true"},
        )
        assert answer.status_code == 422
        assert re.fullmatch(rf"bad\.wav: .*{re.escape(message)}.*", answer.json()["error"])


def test_a_bad_request_is_one_line(client, sound, monkeypatch):
    def problem(method, address, **content):
        answer = client.request(method, address, **content)
        return answer.status_code, answer.json()["error"]

    side = [sound("a", "a0.wav")]
    assert problem("POST", "/verify", files=side) == (
        422,
        "no recording as b; send form data with b=@clip.wav",
    )
    text = {"file": "some text"}
    assert problem("POST", "/gender", data=text) == (
        422,
        "no recording as file; send form data with file=@clip.wav",
    )
    assert problem("POST", "/emotion", files=side) == (
        404,
        "/emotion: not found; POST to /v1/convert, /v1/detect, /v1/embed, /v1/gender, /v1/identify, "
        "/v1/repair, /v1/speak, /v1/verify",
    )
    assert problem("POST", "/speak", data={"speed": "slow"}) == (
        422,
        "no text as text, no number as speed; send form data with text=Good morning. speed=1.2",
    )
    assert problem("GET", "/gender")[0] == 405


def received(answer):
    """The name, the samples and the header of a file that came, and how soundfile sees it."""
    assert answer.status_code == 200
    name = re.search("filename(?:\\*=utf-8''|=)\"?([^\"]+)", answer.headers["content-disposition"])[
        1
    ]
    file = soundfile.SoundFile(io.BytesIO(answer.content))
    return (
        urllib.parse.unquote(name),
        file.read(dtype="float32"),
        json.loads(answer.headers["lin-metadata"]),
        file,
    )


@pytest.mark.parametrize(
    ("suffix", "subtype", "becomes", "kind"),
    [
        ("wav", "PCM_24", "WAV PCM_24", "wav"),
        ("flac", "PCM_16", "FLAC PCM_16", "flac"),
        ("mp3", "MPEG_LAYER_III", "WAV PCM_16", "wav"),
    ],
)
def test_repairs_in_the_encoding_of_the_input(client, sound, suffix, subtype, becomes, kind):
    soundfile.write(f"час.{suffix}", tone(), 16000, subtype=subtype)
    answer = client.post(
        "/repair", files=[sound("file", f"час.{suffix}")], data={"strength": "0.5"}
    )
    name, samples, summary, file = received(answer)
    assert (name, answer.headers["content-type"]) == (f"час_repaired.{kind}", f"audio/{kind}")
    assert (file.format, file.subtype) == tuple(becomes.split())
    np.testing.assert_allclose(samples[800:-800], 0.75 * tone()[800:-800], atol=0.02)
    assert (summary["file"], summary["out"], summary["format"]) == (f"час.{suffix}", name, becomes)
    assert summary["before"]["peak"] == pytest.approx(0.5, abs=0.02)
    assert summary["after"]["peak"] == pytest.approx(0.375, abs=0.02)


def test_tells_what_is_wrong_with_a_recording(client, sound):
    answer = client.post("/repair?json", files=[sound("file", "loud.wav")])
    assert answer.json()["before"]["peak"] == pytest.approx(0.5, abs=1e-3)
    answer = client.post("/repair", files=[sound("file", "loud.wav")], data={"strength": "2"})
    assert (answer.status_code, answer.json()["error"][:10]) == (422, "strength 2")


def test_speaks_in_a_voice_by_name_or_recordings(client, sound, hummer):
    answer = client.post(
        "/speak", data={"text": "Good, good morning.", "voice": "High", "speed": "1.5"}
    )
    name, samples, summary, file = received(answer)
    assert (name, answer.headers["content-type"]) == ("speech.wav", "audio/wav")
    assert file.comment == "synthetic speech, made by hummer"
    np.testing.assert_allclose(samples, tone(2.0), atol=1e-4)
    assert summary == {
        "out": "speech.wav",
        "seconds": 2.0,
        "provenance": "made by hummer",
        "problems": ["skipped a comma"],
    }
    assert hummer.asked[-1] == ("Good, good morning.", "High", 1.5)
    client.post("/speak", data={"text": "Yes."})
    assert hummer.asked[-1] == ("Yes.", None, 1.0)
    client.post(
        "/speak",
        data={"text": "Yes.", "voice": ["Low"], "consent": "true"},
        files=[sound("voice", "a0.wav")],
    )
    (path, name), *_ = [hummer.asked[-1][1]]
    assert (pathlib.Path(path).suffix, name) == (".upload", "Low")
    cloned = len(hummer.cloned)
    client.post(
        "/convert",
        data={"consent": "true"},
        files=[*(sound("file", each) for each in ("a0.wav", "b0.wav")), sound("voice", "a0.wav")],
    )
    assert hummer.cloned[cloned:] == [[hummer.asked[-1][1]]]  # once, for both
    summary = received(client.post("/speak", data={"text": "No" + 9 * ","}))[2]
    assert summary["problems"] == [*3 * ["skipped a comma"], "and 6 more"]


def test_says_a_recording_again(client, sound, hummer):
    answer = client.post(
        "/convert",
        files=[sound("file", "a0.wav"), sound("voice", "b0.wav")],
        data={"consent": "true"},
    )
    name, samples, summary, file = received(answer)
    assert (name, len(samples), summary["seconds"]) == (
        "a0_converted.wav",
        1.5 * verifiers.RATE,
        1.5,
    )
    assert file.comment == "synthetic speech, made by hummer"
    assert [pathlib.Path(path).name for path in hummer.asked[-1][:2]] == ["1.upload", "0.upload"]


def test_what_cannot_be_said_is_one_line(client, sound, tmp_path):
    def problem(address, **content):
        answer = client.post(address, **content)
        assert answer.status_code == 422
        return answer.json()["error"]

    assert problem("/speak", data={"text": "Why?"}) == "nothing to say: ask somebody else"
    message = "no voice of this model; send a recording with voice=@clip.wav, or one of these names: Low, High"
    for name in ("Middle", str(tmp_path / "a0.wav")):
        assert problem("/speak", data={"text": "Yes.", "voice": name}) == f"{name}: {message}"
    assert problem("/speak", data={"text": "a" * 5001}).startswith(
        "5,001 characters are too long, 5,000 are taken"
    )


def test_recordings_are_bounded_by_the_job(hummer, sound):
    models = serving.assign([serving.Model(hummer, "")], {"convert": 1.0})
    with testclient.TestClient(api.create(models)) as client:
        answer = client.post("/convert", files=[sound("file", "a0.wav")])
        assert answer.status_code == 422
        message = "a0.wav: 0:00:01.5 are too long, 0:00:01.0 are taken; use the command line"
        assert answer.json() == {"error": message}
        assert client.post("/speak", data={"text": "Yes."}).status_code == 200
    with pytest.raises(ConfigError, match="sing: no job; limits are of convert, detect"):
        serving.assign([], {"sing": 1.0})


def test_a_talker_is_asked_only_for_what_it_does():
    synthesizer = synthesizers.Hummer()
    synthesizer.sources = ("speech",)
    models = serving.assign([serving.Model(synthesizer, "")])
    with testclient.TestClient(api.create(models)) as client:
        assert (
            client.post("/speak").json()["error"]
            == "/speak: not found; POST to /v1/convert, /v1/detect"
        )


def test_uploads_are_removed_whatever_their_names(client, sound, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    (_, (_, content)) = sound("file", "loud.wav")
    for name, shown in (
        ("../../passwd", "passwd"),
        (r"C:\голос?.wav", "голос?.wav"),
        ("/", "recording"),
    ):
        answer = client.post("/gender", files={"file": (name, content)})
        assert (answer.status_code, answer.json()["file"]) == (200, shown)
    assert client.post("/gender", files={"file": ("bad.wav", b"bad")}).status_code == 422
    for address in ("/repair", "/convert"):
        assert client.post(address, files={"file": ("/", content)}).status_code == 200
    assert client.post("/speak", data={"text": "Yes."}).status_code == 200
    assert not [*(tmp_path / "uploads").iterdir()]


def test_models_warm_up_the_smallest_first_whatever_one_of_them_raises():
    done = []

    class Sized(types.SimpleNamespace):
        task = "classification"

        def predict(self, samples, rate):
            done.append((self.name, len(samples) / rate, round(float(abs(samples).max()), 1) > 0))
            if self.name == "gender":
                raise MemoryError

    def model(name, size):
        frontend = types.SimpleNamespace(sample_rate=8000)
        variables = {"params": {"kernel": np.zeros(size)}}
        return serving.Model(Sized(name=name, frontend=frontend, variables=variables), "")

    serving.warm_up(serving.assign([model("emotion", 2), model("gender", 1)])).join(60)
    assert done == [("gender", 4.0, True), ("emotion", 4.0, True)]


def test_own_bundles_are_served_too(tmp_path, monkeypatch):
    verifiers.register(monkeypatch)
    folders = [
        bundles.save(tmp_path / name, verifiers.verifier(threshold=0.1 * i), f"Card {i}")
        for i, name in enumerate("ab")
    ]
    models = {job.name: model for job, model in serving.load(map(str, folders)).items()}
    assert list(models) == ["detect", "embed", "identify", "verify"]
    model = models["verify"]
    assert model.worker is models["embed"].worker, "one bundle has one queue"
    assert (model.card, model.bundle.threshold) == (
        "Card 1",
        pytest.approx(0.1),
    )
    (folders[0] / "README.md").unlink()
    with pytest.raises(BundleError, match=r"a/README\.md: the model card cannot be read"):
        serving.load([str(folders[0])])


def test_emotion_shares_the_gender_bundle_that_is_served():
    models = {job.name: model for job, model in serving.load(["emotion", "gender"]).items()}
    assert models["emotion"].bundle._gate is models["gender"].bundle


def test_a_vocoder_is_not_served(tmp_path):
    folder = bundles.save(tmp_path / "sound", synthesizers.vocoder(), "")
    with pytest.raises(ConfigError, match="no job of its own"):
        serving.load([str(folder)])


def test_serve_without_a_port_or_the_extra(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for chosen, problem in (
            (port, f"127.0.0.1:{port}: Address already in use; choose another --host or --port"),
            (70000, "port 70000: ports go from 0 to 65535; choose another --port"),
        ):
            assert cli.main(["serve", "--port", str(chosen)]) == 2
            assert capsys.readouterr().err == f"lin: {problem}\n"
    for name in ("uvicorn", "fastapi"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            assert cli.main(["serve", "--port", "0"]) == 2
        assert capsys.readouterr().err == f"lin: {serve.EXTRA}\n"


WAITING = """
import os, pathlib, sys, time
from lin_jax.apps import cli, serve

def answer(settings, connections, models, folder):
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1" and "numpy" not in sys.modules
    pathlib.Path(folder, "0.upload").touch()
    print(folder, flush=True)
    time.sleep(60)

serve._answer = answer
sys.exit(cli.main(["serve", "--port", "0"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_no_recording(number):
    # Whoever starts the tests in the background lets them ignore the second of the signals.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    with process:
        folder = process.stdout.readline().strip()
        assert os.listdir(folder) == ["0.upload"]
        process.send_signal(number)
        assert process.wait(3) == 130
    assert not os.path.exists(folder)


def test_limits_are_jobs_with_seconds(capsys):
    assert cli.main(["serve", "--port", "0", "--max-seconds", "repair"]) == 2
    message = "--max-seconds repair: give JOB=SECONDS, such as repair=3600"
    assert capsys.readouterr().err == f"lin: {message}\n"


def test_what_is_busy_or_takes_too_long_is_one_line(client, sound, monkeypatch):
    for error, status in ((BusyError, 503), (WorkEndedError, 504)):
        with monkeypatch.context() as patch:

            def refuse(*_, error=error, **__):
                raise error("ask again")

            patch.setattr(serving.Model, "submit", refuse)
            answer = client.post("/gender", files=[sound("file", "loud.wav")])
        assert (answer.status_code, answer.json()) == (status, {"error": "ask again"})


def test_settings_reach_the_server(tmp_path, monkeypatch, capsys):
    (tmp_path / ".env").write_text(
        "LIN_API_KEY=secret\nLIN_CORS_ORIGIN=https://a.example\nLIN_RATE_LIMIT=2\nLIN_MAX_SECONDS=gender=1"
    )
    monkeypatch.chdir(tmp_path)
    given = []

    def load(names, limits):
        given.append((names[-1], limits))
        return serving.assign([serving.Model(Listener(), "")], limits)

    def visit(server, sockets):
        client = testclient.TestClient(server.config.app, base_url="http://localhost")
        key = {"authorization": "Bearer secret"}
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/health").status_code == 200
        site = {"origin": "https://a.example", "sec-fetch-site": "cross-site"}
        asks_first = {"access-control-request-method": "POST"}
        answer = client.options("/v1/gender", headers=site | asks_first)
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        other = {"origin": "https://b.example"}
        assert client.post("/v1/gender", headers=other).status_code == 403
        files.write("long.wav", tone(2.0), 16000)
        sent = {"file": (tmp_path / "long.wav").read_bytes()}
        answer = client.post("/v1/gender", headers=key | site, files=sent)
        assert "0:00:02.0 are too long, 0:00:01.0 are taken" in answer.json()["error"]
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        statuses = [client.post("/api/gender", headers=key).status_code for _ in range(2)]
        assert statuses == [422, 429]
        metrics = client.get("/v1/metrics", headers=key).text
        assert 'lin_requests_total{method="POST",route="/v1/gender",status="422"} 1.0' in metrics
        given.append("visited")

    page = types.SimpleNamespace(mount=lambda *_: None)  # Gradio takes seconds
    monkeypatch.setattr(apps, "page", page, raising=False)
    monkeypatch.setattr(serving, "load", load)
    monkeypatch.setattr("uvicorn.Server.run", visit)
    assert cli.main(["serve", "--port", "0", "--model", "mine"]) == 0
    assert given == [("mine", {"gender": 1.0}), "visited"]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["status"] for line in lines] == [401, 200, 200, 403, 422, 422, 429, 200]
