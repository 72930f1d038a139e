"""The page: one test, for Gradio takes seconds to import and to build it."""

import asyncio
import csv
import functools
import json
import os
import pathlib
import re
import shutil
import threading
import time

import pytest
import soundfile
import uvicorn
from fastapi import testclient
from helpers import repairers, synthesizers, verifiers
from helpers.recordings import tone

from lin_jax import cancellation
from lin_jax.apps import cli, gallery, serving
from lin_jax.audio import files
from lin_jax.bundles import Prediction, Segment
from lin_jax.errors import SilenceError, WorkCancelledError

FILE = {"_type": "gradio.FileData"}


class Listener:
    """Stands in for a classifier."""

    task, name = "classification", "gender"

    def __init__(self):
        self.given_up = threading.Event()

    def predict(self, path):
        try:
            while "endless" in path:
                cancellation.check()
                time.sleep(0.01)
        except WorkCancelledError:
            self.given_up.set()
            raise
        if "silent" in path:
            raise SilenceError(f"{path}: silent throughout; record it again or leave it out")
        return Prediction("male", {"female": 0.2, "male": 0.8}, files.duration(path))

    def timeline(self, path):
        yield Segment(0.0, 3.0, "male", {"female": 0.25, "male": 0.75})
        yield Segment(3.0, 6.0, None, {})


def messages(client, event, *values):
    """What the browser is sent, by its kind, the last of each, when an event happens."""
    session = f"session{event}{len(str(values))}"
    event = {"fn_index": event, "session_hash": session, "data": values}
    assert client.post("/gradio_api/queue/join", json=event).status_code == 200
    queue = client.get("/gradio_api/queue/data", params={"session_hash": session}).text
    lines = (line.removeprefix("data:") for line in queue.splitlines() if line)
    return {message["msg"]: message for message in map(json.loads, lines)}


def ask(client, event, *values):
    """What the browser gets when an event happens."""
    return messages(client, event, *values)["process_completed"]


def last(event):
    """The function that gives what an event shows at last."""

    async def shown(*values):
        return [update async for update in event(*values)][-1]

    return lambda *values: asyncio.run(shown(*values))


async def leave(event, *values):
    """Go while there is no answer yet."""
    updates = event(*values)
    await anext(updates)
    await updates.aclose()


def read_table(path):
    """The rows of a table that was made."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # Gradio counts events by what pandas is about to drop
def test_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    monkeypatch.setattr(gallery, "DEFAULT", tmp_path / "gallery")
    hummer = synthesizers.Hummer(seconds=0.5)
    listener = Listener()
    served = listener, verifiers.verifier(), repairers.repairer(repairers.Gain(0.5)), hummer
    card = "---\nlicense: none\n---\n# The card"
    models = serving.assign([serving.Model(bundle, card) for bundle in served])
    monkeypatch.setattr(serving, "load", lambda names, limits: models)
    visited = []

    names = ("short", "long", "silent", "endless")
    short, long, silent, endless = (str(tmp_path / f"{name}.wav") for name in names)

    def visit(server, sockets):
        visited.append(os.environ["GRADIO_TEMP_DIR"])
        blocks = server.config.app.app.app.app.routes[-1].app.get_blocks()
        events = {number: event.fn for number, event in blocks.fns.items()}
        offers = [number for number, fn in events.items() if isinstance(fn, functools.partial)]
        numbers = [number for number in events if number not in offers]
        with testclient.TestClient(server.config.app, base_url="http://localhost") as client:
            page = client.get("/")
            assert page.status_code == 200
            assert "What is in a voice" in page.text
            fetched = re.findall(
                r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?://[^"]+)"', page.text
            )
            assert [
                address for address in fetched if not address.startswith("http://localhost")
            ] == []
            assert "http" not in client.get("/theme.css").text.replace("http://www.w3.org", "")
            config = client.get("/config").json()
            labels = [
                part["props"].get("label")
                for part in config["components"]
                if part["type"] == "tabitem"
            ]
            assert labels == [
                *("Convert", "Generated?", "Gender", "Who is it?"),
                *("Repair", "Speak", "Same speaker?"),
            ]
            parts = [part for part in config["components"] if part["type"] == "markdown"]
            assert {part["props"]["value"] for part in parts} == {"# The card"}
            assert not config["analytics_enabled"]
            assert client.post("/v1/gender").json()["error"].startswith("no recording as file")
            files.write(short, tone(), 16000)
            upload = client.post(
                "/gradio_api/upload",
                files={"files": ("voice.wav", pathlib.Path(short).read_bytes())},
            )
            (path,) = upload.json()
            assert pathlib.Path(path).is_relative_to(visited[0])
            _, _, answer, _, _, mended, *_ = numbers
            shown, download = ask(client, mended, {"path": path, "meta": FILE}, 1.0)["output"][
                "data"
            ]
            sounds = re.findall(r'<audio [^>]*src="([^"]+)"', shown)
            assert [sound.split("/")[-1] for sound in sounds] == ["voice.wav", "voice_repaired.wav"]
            for address in (download["value"]["url"], *sounds):
                made = client.get(address)
                assert made.headers["content-type"] in ("audio/wav", "audio/x-wav")
            assert download["value"]["path"].endswith("voice_repaired.wav")
            *_, speak, _, _ = numbers
            reference = {"path": path, "meta": FILE}
            sent = messages(client, speak, "Good morning.", "High", reference, True, 1.0)
            (shown,) = sent["progress"]["progress_data"]
            assert (shown["desc"], shown["index"], shown["length"]) == (
                "Fitting to the voice",
                1,
                2,
            )
            assert "made by hummer" in sent["process_completed"]["output"]["data"][0]
            for number in offers:
                for value in ask(client, number)["output"]["data"]:
                    if not isinstance(value, str):
                        offered = client.get(value["url"])
                        assert offered.headers["content-type"] == "audio/mpeg"
            assert not ask(client, answer, {"path": short, "meta": FILE})["success"], (
                "not a file of this machine"
            )
        convert, search, classify, classify_all, identify, repair, speak, verify, verify_all = (
            last(events[number]) for number in numbers
        )
        files.write(endless, tone(), 16000)
        asyncio.run(leave(events[answer], endless))
        assert listener.given_up.wait(5), "nobody waits for it any more"
        assert all(blocks.fns[number].concurrency_limit is None for number in numbers)
        files.write(long, tone(11.0), 16000)
        files.write(silent, 0 * tone(), 16000)
        assert "Drop a recording" in classify(None)
        shown = classify(short)
        assert "<strong>male</strong>" in shown
        assert classify(long).count("<img") == shown.count("<img") + 1, "over time as well"
        assert (
            classify(silent)
            == '<div class="problem">silent.wav: silent throughout; record it again or leave it out</div>'
        )
        assert "two recordings" in verify(short, None)
        assert "First people are enrolled" in identify(None)
        assert "nobody is enrolled on this machine" in identify(short)
        assert "Drop a recording" in search(None)
        assert "<strong>No mark</strong>" in search(short)
        assert "short.wav is compared with itself" in verify(long, short) + verify(short, short)
        assert verify(short, long).count("<img") == 2, "a waveform each"
        table, download = classify_all([short, silent])
        assert "<td>male</td>" in table
        assert "silent throughout" in table
        rows = read_table(download["value"])
        assert [row["file"] for row in rows] == ["short.wav", "silent.wav"]
        assert rows[0]["gender"] == "male"
        assert rows[0]["probability of female"] == "0.2"
        assert rows[1]["problem"].startswith("silent.wav: silent")
        assert classify_all(None) == ("", {"visible": False, "__type__": "update"})
        formula = str(tmp_path / "=1+1.wav")
        shutil.copy(short, formula)
        _, download = verify_all([formula], short)
        (row,) = read_table(download["value"])
        assert row["file"] == "'=1+1.wav", "no spreadsheet reckons with a name"
        assert row["compared with"] == "short.wav"
        assert row["decision"] in ("same", "unsure")
        assert "give the one voice above" in verify_all([short], None)[0]
        shown, player = repair(short, 1.0)
        assert "6 dB less noise" in shown
        assert shown.count("<img") == 2, "before and after"
        assert player["visible"]
        made = pathlib.Path(player["value"])
        assert made.name == "short_repaired.wav"
        assert abs(files.read(made)[0]).max() < 0.3, "half as loud"
        shown, player = repair(str(tmp_path / "no.wav"), 1.0)
        assert shown == '<div class="problem">no.wav: no such file; check the path</div>'
        assert not player["visible"]
        assert "damaged recording" in repair(None, 1.0)[0]
        shown, player, _ = speak("Good, good morning.", "High", None, False, 1.5)
        assert "synthetic speech, made by hummer" in shown
        assert '<p class="note">skipped a comma</p>' in shown
        assert soundfile.SoundFile(player["value"]).comment == "synthetic speech, made by hummer"
        assert hummer.asked[-1] == ("Good, good morning.", "High", 1.5)
        assert (
            speak("Why?", "High", None, False, 1.0)[0]
            == '<div class="problem">nothing to say: ask somebody else</div>'
        )
        shown, player, _ = convert(short, "High", long, True, 1.0)
        assert hummer.asked[-1] == (short, long, 1.0), "a recording goes before a name"
        assert pathlib.Path(player["value"]).name == "short_converted.wav"
        assert "press the button" in convert(None, "High", None, False, 1.0)[0]
        assert "tick the box" in convert(short, "High", long, False, 1.0)[0]
        visited.append(player["value"])

    monkeypatch.setattr(uvicorn.Server, "run", visit)
    assert cli.main(["serve", "--port", "0"]) == 0
    warming, line = capsys.readouterr().out.splitlines()
    assert warming == "the models are warming up …"
    page = r"the page is at http://127\.0\.0\.1:\d+ and the API below /v1; Ctrl-C ends it"
    assert re.fullmatch(page, line)
    assert not any(pathlib.Path(path).exists() for path in visited), "recordings are removed"
