"""The HTTP API beyond single answers: several recordings, formats, streams, OpenAI, consent, its pages."""

import io
import json
import pathlib
import re
import zipfile

import numpy as np
import pytest
import soundfile
from fastapi import FastAPI, testclient
from helpers import repairers, synthesizers, verifiers
from helpers.recordings import tone

from lin_jax import recognisers
from lin_jax.apps import api, gallery, serving
from lin_jax.audio import files
from lin_jax.bundles import Prediction, Speech, VoiceProfile, saved_voices


class Listener:
    """Stands in for a classifier."""

    task, name = "classification", "gender"

    def predict(self, path):
        shares = {"female": 0.2, "male": 0.8}
        return Prediction("male", shares, files.duration(path), "by a test")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nobody is enrolled and no voice is saved on this machine."""
    monkeypatch.setattr(saved_voices, "FOLDER", tmp_path / "voices")
    monkeypatch.setattr(gallery, "DEFAULT", tmp_path / "gallery")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def hummer():
    return synthesizers.Hummer()


@pytest.fixture(scope="module")
def client(hummer):
    bundles = Listener(), verifiers.verifier(), repairers.repairer(repairers.Gain(0.5)), hummer
    models = serving.assign([serving.Model(bundle, "") for bundle in bundles], {"gender": 4.0})
    app, routes = FastAPI(), api.create(models)
    for address in api.ADDRESSES:
        app.mount(address, routes)
    with testclient.TestClient(app, raise_server_exceptions=False) as client:
        yield client


def upload(name, samples=None, rate=16000):
    """A recording as it is sent; a broken one without samples."""
    if samples is None:
        return ("file", (name, b"broken"))
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="WAV")
    return ("file", (name, content.getvalue()))


def test_several_recordings_are_answered_one_by_one(client):
    sent = [upload("a.wav", tone(1.0)), upload("b.wav"), upload("c.wav", tone(2.0))]
    first, bad, last = client.post("/v1/gender", files=sent).json()
    assert (first["file"], first["seconds"], last["file"]) == ("a.wav", 1.0, "c.wav")
    assert (first["probabilities"]["female"], first["note"]) == (0.2, "by a test")
    assert list(bad) == ["file", "error"]
    assert bad["error"].startswith("b.wav: ")
    assert client.post("/v1/gender", files=sent[1:2]).status_code == 422, "the only one"


def test_the_limit_of_seconds_is_of_all_recordings_of_a_request(client):
    sent = [upload(name, tone(1.5)) for name in ("a.wav", "b.wav", "c.wav")]
    rows = client.post("/v1/gender", files=sent).json()
    assert [row.get("error", "")[:31] for row in rows] == [
        "",
        "",
        "c.wav: 0:00:04.5 are too long, ",
    ]


def test_the_former_address_answers_the_same(client):
    sent = [upload("a.wav", tone())]
    assert client.post("/api/gender", files=sent).json() == (
        client.post("/v1/gender", files=sent).json()
    )


def test_a_voice_as_a_vector(client):
    voice = verifiers.voice(0, 1.5, 0)
    answer = client.post("/v1/embed", files=[upload("a.wav", voice, verifiers.RATE)]).json()
    assert (answer["file"], answer["seconds"]) == ("a.wav", pytest.approx(1.5, abs=0.1))
    assert np.linalg.norm(answer["embedding"]) == pytest.approx(1.0, abs=1e-5)
    bundle = verifiers.verifier()
    assert answer["model"] == bundle.fingerprint
    files.write("a.wav", voice, verifiers.RATE)
    assert np.dot(answer["embedding"], bundle.embed("a.wav")) > 0.999


def test_who_of_the_gallery_speaks(client, tmp_path):
    def voice(speaker, seed):
        return verifiers.voice(speaker, 1.5, seed)

    sent = [upload("a.wav", voice(0, 1), verifiers.RATE)]
    answer = client.post("/v1/identify", files=sent)
    assert (answer.status_code, answer.json()["error"][:22]) == (422, "nobody is enrolled on ")
    assert str(tmp_path) not in answer.text, "where the gallery is"
    bundle = verifiers.verifier()
    for speaker, name in enumerate(("Anna", "Ben")):
        files.write("known.wav", voice(speaker, 0), verifiers.RATE)
        enrolled = list(bundle.embed_all(["known.wav"]))
        gallery.Gallery(tmp_path / "gallery").add(name, enrolled, bundle.fingerprint)
    answer = client.post("/v1/identify", files=sent).json()
    assert (answer["file"], answer["speaker"]) == ("a.wav", "Anna")
    assert list(answer["scores"]) == ["Anna", "Ben"]
    assert answer["score"] == answer["scores"]["Anna"]
    sent = [upload("narrow.wav", verifiers.low_passed(0, 2500), verifiers.RATE)]
    answer = client.post("/v1/identify", files=sent).json()
    assert (answer["speaker"], answer["reason"][:40]) == (
        "unsure",
        "narrow.wav: nothing of the voice above 2",
    )


def test_too_narrow_a_voice_is_unsure_with_its_score(client):
    wide, narrow = (
        upload(name, sound, verifiers.RATE)[1]
        for name, sound in (
            ("wide.wav", verifiers.voice(0)),
            ("narrow.wav", verifiers.low_passed(0, 2500, seed=1)),
        )
    )
    answer = client.post("/v1/verify", files=[("a", wide), ("b", narrow)]).json()
    assert (answer["decision"], answer["probability"]) == ("unsure", 0.5)
    assert answer["reason"].startswith("narrow.wav: nothing of the voice above 2.4 kHz")
    assert answer["score"] > 0.5


def test_what_is_generated_is_known(client):
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * 16000).astype(np.float32)
    Speech.marked(noise, 16000, (), "made by a test").write("made.flac")
    with open("made.flac", "rb") as file:
        sent = [("file", ("made.flac", file.read())), upload("b.wav", noise)]
    made, spoken = client.post("/v1/detect", files=sent).json()
    assert (made["file"], made["generated"], spoken["generated"]) == ("made.flac", True, False)
    assert made["comment"] == "synthetic speech, made by a test"
    assert made["spans"] == [[0.0, 3.0]]


@pytest.mark.parametrize(
    ("kind", "container", "media_type"),
    [
        ("wav", "WAV", "audio/wav"),
        ("flac", "FLAC", "audio/flac"),
        ("mp3", "MP3", "audio/mpeg"),
        ("opus", "OGG", "audio/ogg"),
    ],
)
def test_recordings_come_in_the_format_that_is_asked_for(client, kind, container, media_type):
    for address, sent in (("speak", None), ("repair", upload("a.wav", tone()))):
        answer = client.post(
            f"/v1/{address}", files=[sent] if sent else None, data={"text": "Hi.", "format": kind}
        )
        assert answer.headers["content-type"] == media_type
        assert f'.{kind}"' in answer.headers["content-disposition"]
        assert soundfile.info(io.BytesIO(answer.content)).format == container


def test_another_format_is_refused(client):
    answer = client.post("/v1/speak", data={"text": "Hi.", "format": "aac"})
    problem = "no wav or flac or mp3 or opus as format; send form data with format=wav"
    assert (answer.status_code, answer.json()["error"]) == (422, problem)


def test_several_recordings_that_are_made_come_as_an_archive(client):
    sent = [upload("a.wav", tone()), upload("b.wav"), upload("a.wav", tone(2.0))]
    for address, made in (("repair", "repaired"), ("convert", "converted")):
        answer = client.post(f"/v1/{address}", files=sent)
        assert answer.headers["content-type"] == "application/zip"
        archive = zipfile.ZipFile(io.BytesIO(answer.content))
        names = [f"a_{made}.wav", f"2_a_{made}.wav"]
        assert archive.namelist() == [*names, "metadata.json"]
        first, bad, last = json.loads(archive.read("metadata.json"))
        assert [row["out"] for row in (first, last)] == names
        assert bad["error"].startswith("b.wav: ")
        assert soundfile.info(io.BytesIO(archive.read(names[1]))).duration == 2.0
    rows = client.post("/v1/repair?json", files=sent).json()
    assert [row.get("seconds") for row in rows] == [1.0, None, 2.0]


def test_speech_is_sent_as_it_is_made(client, hummer):
    sent = {"text": "Good morning. Bye.", "stream": "true", "voice": "High"}
    answer = client.post("/v1/speak", data=sent)
    assert answer.headers["content-type"] == "audio/wav"
    assert b"synthetic speech, made by hummer" in answer.content[:200]
    files_sent = io.BytesIO(answer.content)
    assert soundfile.SoundFile(files_sent).samplerate == synthesizers.RATE
    assert len(answer.content) > 3 * 2 * synthesizers.RATE, "three words, a second each"
    assert [asked[:2] for asked in hummer.asked[-2:]] == [
        ("Good morning", "High"),
        (" Bye", "High"),
    ]
    answer = client.post("/v1/speak", data={"text": "Why?", "stream": "true"})
    assert (answer.status_code, answer.json()["error"][:14]) == (422, "nothing to say")
    answer = client.post("/v1/speak", data=sent | {"format": "mp3"})
    assert answer.json()["error"] == "format=mp3: a stream is WAV; leave out one of the two"


def test_the_text_of_a_recording_is_handed_on(client, hummer, monkeypatch):
    sent, data = [upload("a.wav", tone())], {"text": "Hi."}
    assert client.post("/v1/convert", files=sent, data=data).status_code == 200
    assert hummer.asked[-1][0] == "Hi."
    monkeypatch.setattr(recognisers, "transcribe", lambda samples: "Ho.")
    answer = client.post("/v1/convert", files=sent, data={"transcribe": "true"})
    assert (answer.status_code, hummer.asked[-1][0]) == (200, "Ho.")
    answer = client.post("/v1/convert", files=[*sent, upload("b.wav", tone())], data=data)
    assert (answer.status_code, answer.json()["error"][:30]) == (
        422,
        "text: what one recording says;",
    )


def test_the_voice_of_an_upload_takes_consent(client):
    for address, sent in (("speak", []), ("convert", [upload("a.wav", tone())])):
        reference = ("voice", ("b.wav", upload("b.wav", tone())[1][1]))
        data = {"text": "Hi."}
        answer = client.post(f"/v1/{address}", files=[*sent, reference], data=data)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("a voice is its owner's: state with consent=true")
        for given, status in (("true", 200), ("false", 400), ("perhaps", 422)):
            answer = client.post(
                f"/v1/{address}", files=[*sent, reference], data=data | {"consent": given}
            )
            assert answer.status_code == status
    assert client.post("/v1/speak", data={"text": "Hi.", "voice": "High"}).status_code == 200


def test_a_saved_voice_needs_none(client, hummer, monkeypatch):
    profile = VoiceProfile(np.ones(4, np.float32) / 2)
    saved_voices.save("anna", profile, hummer.encoder_fingerprint, "a test")
    rows = client.get("/v1/voices").json()
    assert [(row["name"], row["saved"]) for row in rows] == [
        ("Low", False),
        ("High", False),
        ("anna", True),
    ]
    assert rows[0] == {"name": "Low", "sex": "male", "saved": False, "jobs": ["convert", "speak"]}
    known = "Low, High, anna"
    answer = client.post("/v1/speak", data={"text": "Hi.", "voice": "nobody"})
    assert answer.json()["error"].endswith(f"or one of these names: {known}")
    monkeypatch.setattr(serving, "MAX_NAMES", 1)
    answer = client.post("/v1/speak", data={"text": "Hi.", "voice": "nobody"})
    assert answer.json()["error"].endswith("or one of these names: Low, … (GET /v1/voices)")
    serving_names = client.get("/v1/audio/voices").json()["voices"]
    assert serving_names[-1] == {"id": "anna", "name": "anna"}


def test_openai_speech(client, hummer):
    sent = {"model": "tts-1", "input": "Hi there.", "voice": "High", "speed": 2.0}
    answer = client.post("/v1/audio/speech", json=sent | {"instructions": "Be kind."})
    assert answer.headers["content-type"] == "audio/mpeg"
    assert soundfile.info(io.BytesIO(answer.content)).format == "MP3"
    assert hummer.asked[-1] == ("Hi there.", "High", 2.0)
    answer = client.post("/v1/audio/speech", json=sent | {"response_format": "pcm"})
    assert answer.headers["content-type"] == "audio/pcm"
    assert len(answer.content) == 2 * 24_000, "a second of 16 bits at 24 kHz"
    for name, voice in (("alloy", "Low"), ("ash", "High"), ("ballad", "Low")):
        assert client.post("/v1/audio/speech", json=sent | {"voice": name}).status_code == 200
        assert hummer.asked[-1][1] == voice


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"voice": "nobody"}, "nobody: no voice of this model; send a recording"),
        ({"response_format": "aac"}, "response_format: Input should be 'mp3', 'opus', "),
        ({"input": None}, "input: Input should be a valid string"),
        ({"input": "a" * 5001}, "5,001 characters are too long, 5,000 are taken"),
        ({"input": "Why?", "response_format": "pcm"}, "nothing to say: ask somebody else"),
    ],
)
def test_openai_speech_that_cannot_be_made(client, change, problem):
    sent = {"model": "synthesis", "input": "Hi.", "voice": "alloy"} | change
    answer = client.post("/v1/audio/speech", json=sent)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(problem)


def test_openai_speech_of_broken_json(client):
    json_type = {"content-type": "application/json"}
    answer = client.post("/v1/audio/speech", content='{"input":', headers=json_type)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "body: JSON decode error"


def test_what_is_served_is_told(client):
    assert client.get("/v1/health").json()["status"] == "ok"
    jobs = ["convert", "detect", "embed", "gender", "identify", "repair", "speak", "verify"]
    assert client.get("/v1/health").json()["jobs"] == jobs
    models = {row["id"]: row["jobs"] for row in client.get("/v1/models").json()["data"]}
    assert models["hummer"] == ["convert", "speak"]
    assert models["gender"] == ["gender"]
    assert 'lin_work_waiting{job="detect"} 0.0' in client.get("/v1/metrics").text


def test_answers_are_typed(client):
    schema = client.get("/v1/openapi.json").json()
    assert schema["servers"] == [{"url": "/v1"}]
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            refusal = answers["422"]["content"]["application/json"]["schema"]["$ref"]
            assert refusal.endswith("/OpenAIProblem" if "speech" in path else "/Problem")
            for kind, content in answers["200"]["content"].items():
                assert content["schema"], f"{path} as {kind}"
    fields = schema["components"]["schemas"]["GenderAnswer"]["properties"]
    assert list(fields) == ["file", "gender", "probability", "seconds", "probabilities", "note"]


def test_the_documentation_loads_nothing(client):
    page = client.get("/v1/docs").text
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import|https?://", page)
    for address in ("POST /v1/gender", "POST /v1/audio/speech", "GET /v1/health"):
        assert f"<h2>{address}</h2>" in page
    assert "curl -F text=&#x27;Good morning.&#x27; -o FILE localhost:7860/v1/speak" in page


def test_the_examples_of_the_documentation_ask_for_what_is_served(client):
    text = pathlib.Path(__file__).parents[2].joinpath("docs/api.md").read_text()
    addresses = {*re.findall(r"localhost:7860/v1(/[\w/]+)", text)}
    served = client.get("/v1/openapi.json").json()["paths"]
    assert addresses - {"/emotion"} <= set(served), "a classifier stands in for all"
    assert {"/speak", "/convert", "/repair", "/verify", "/detect"} <= addresses
