"""The HTTP API, asked by FastAPI's test client; nothing reaches a network."""

import re
import socket
import sys

import pytest
import voices
from fastapi import testclient
from recordings import BAD, tone

from lin_jax import bundles
from lin_jax.apps import cli, web
from lin_jax.audio import files
from lin_jax.bundles import Prediction
from lin_jax.errors import BundleError


class Listener:
    """Stands in for a classifier: it hears the loudness."""

    task, name = "classification", "gender"

    def predict(self, path):
        samples, rate = files.read(path)
        files.check(samples, str(path), min_samples=400)
        share = round(float(abs(samples).max()), 3)
        return Prediction("loud", {"loud": share, "soft": 1 - share}, len(samples) / rate)


@pytest.fixture(scope="module")
def client():
    models = [web.Model(Listener(), ""), web.Model(voices.verifier(), "")]
    with testclient.TestClient(web.create_api(models), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def sound(tmp_path, monkeypatch):
    """Some recordings in the working folder, and a function that reads one as an upload."""
    monkeypatch.chdir(tmp_path)
    files.write("loud.wav", tone(), 16000)
    for speaker, letter in enumerate("ab"):
        for seed in range(2):
            files.write(f"{letter}{seed}.wav", voices.voice(speaker, 1.5, seed), voices.RATE)
    return lambda field, name: (field, (f"/their/home/{name}", (tmp_path / name).read_bytes()))


def test_answers_as_the_command_line_does(client, sound):
    answer = client.post("/gender", files=[sound("file", "loud.wav")])
    heard = Listener().predict("loud.wav")
    assert answer.status_code == 200
    assert answer.json() == {
        "file": "loud.wav",
        "gender": "loud",
        "probability": heard.probability,
        "seconds": heard.seconds,
        "probabilities": pytest.approx(heard.probabilities),
    }


def test_compares_sides_of_several_recordings(client, sound):
    names = [("a", "a0.wav"), ("a", "a1.wav"), ("b", "b0.wav")]
    answer = client.post("/verify", files=[sound(*name) for name in names]).json()
    assert (answer["a"], answer["b"], answer["same"]) == (["a0.wav", "a1.wav"], ["b0.wav"], "different")
    files.write("twin.wav", files.read("a0.wav")[0], voices.RATE)
    twins = client.post("/verify", files=[sound("a", "a0.wav"), sound("b", "twin.wav")]).json()
    assert twins["same"] == "same"
    assert twins["why"].startswith("a0.wav and twin.wav are the same recording"), "without the folder they lie in here"


@pytest.mark.parametrize("name", [name for name in BAD if name not in ("missing", "folder")])
def test_a_bad_recording_is_one_line(client, sound, tmp_path, name):
    make, message = BAD[name]
    make(tmp_path / "bad.wav")
    for address, sides in (("/gender", ["file"]), ("/verify", ["a", "b"])):
        answer = client.post(address, files=[sound(side, "bad.wav") for side in sides])
        assert answer.status_code == 422
        assert re.fullmatch(rf"bad\.wav: .*{re.escape(message)}.*", answer.json()["error"])


def test_a_bad_request_is_one_line(client, sound, monkeypatch):
    def problem(method, address, **content):
        answer = client.request(method, address, **content)
        return answer.status_code, answer.json()["error"]

    side = [sound("a", "a0.wav")]
    assert problem("POST", "/verify", files=side) == (422, "no recording as b; send form data with b=@clip.wav")
    text = {"file": "some text"}
    assert problem("POST", "/gender", data=text) == (422, "no recording as file; send form data with file=@clip.wav")
    assert problem("POST", "/emotion", files=side) == (404, "/emotion: not found; POST to /api/gender, /api/verify")
    assert problem("GET", "/gender")[0] == 405
    assert problem("POST", "/gender", content=iter([b"who knows how long"]))[0] == 411
    monkeypatch.setattr(web, "LARGEST_MEGABYTES", 0.04)
    status, message = problem("POST", "/verify", files=[*side, sound("b", "a0.wav")])
    assert (status, message[:28]) == (413, "0 MB are too large, 0.04 MB ")


def test_uploads_are_removed_whatever_their_names(client, sound, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    (_, (_, content)) = sound("file", "loud.wav")
    for name, shown in (("../../passwd", "passwd"), (r"C:\голос?.wav", "голос?.wav"), ("/", "recording")):
        answer = client.post("/gender", files={"file": (name, content)})
        assert (answer.status_code, answer.json()["file"]) == (200, shown)
    assert client.post("/gender", files={"file": ("bad.wav", b"bad")}).status_code == 422
    assert not [*(tmp_path / "uploads").iterdir()]


def test_own_bundles_are_served_too(tmp_path, monkeypatch):
    voices.register(monkeypatch)
    folders = [
        bundles.save(tmp_path / name, voices.verifier(threshold=0.1 * i), f"Card {i}") for i, name in enumerate("ab")
    ]
    (model,) = web.load(map(str, folders))
    assert (model.job, model.card, model.bundle.threshold) == ("verify", "Card 1", pytest.approx(0.1))
    (folders[0] / "README.md").unlink()
    with pytest.raises(BundleError, match=r"a/README\.md: the model card cannot be read"):
        web.load([str(folders[0])])


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
        assert capsys.readouterr().err == f"lin: {web.EXTRA}\n"
