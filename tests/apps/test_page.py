"""The page: one test, for Gradio takes seconds to import and to build it."""

import os
import pathlib
import re

import uvicorn
import voices
from fastapi import testclient
from recordings import tone

from lin_jax.apps import cli, web
from lin_jax.audio import files
from lin_jax.bundles import Prediction, Segment
from lin_jax.errors import SilenceError


class Listener:
    """Stands in for a classifier."""

    task, name = "classification", "gender"

    def predict(self, path):
        if "silent" in path:
            raise SilenceError(f"{path}: silent throughout; record it again or leave it out")
        return Prediction("male", {"female": 0.2, "male": 0.8}, files.duration(path))

    def timeline(self, path):
        yield Segment(0.0, 3.0, "male", {"female": 0.25, "male": 0.75})
        yield Segment(3.0, 6.0, None, {})


def test_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    models = [web.Model(Listener(), "# The card"), web.Model(voices.verifier(), "")]
    monkeypatch.setattr(web, "load", lambda names: models)
    visited = []

    def visit(server, sockets):
        visited.append(os.environ["GRADIO_TEMP_DIR"])
        with testclient.TestClient(server.config.app) as client:
            page = client.get("/")
            assert page.status_code == 200
            assert "What is in a voice" in page.text
            fetched = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?://[^"]+)"', page.text)
            assert [address for address in fetched if not address.startswith("http://testserver")] == []
            assert "http" not in client.get("/theme.css").text.replace("http://www.w3.org", "")
            config = client.get("/config").json()
            labels = [part["props"].get("label") for part in config["components"] if part["type"] == "tabitem"]
            assert labels == ["Gender", "Same speaker?"]
            assert not config["analytics_enabled"]
            assert client.post("/api/gender").json()["error"].startswith("no recording as file")
            upload = client.post("/gradio_api/upload", files={"files": ("voice.wav", b"RIFF")})
            assert pathlib.Path(upload.json()[0]).is_relative_to(visited[0])
        hear, judge = (event.fn for event in server.config.app.routes[-1].app.get_blocks().fns.values())
        short, long, silent = (str(tmp_path / f"{name}.wav") for name in ("short", "long", "silent"))
        files.write(short, tone(), 16000)
        files.write(long, tone(11.0), 16000)
        assert "Record a sentence" in hear(None)
        shown = hear(short)
        assert "<strong>male</strong>" in shown
        assert hear(long).count("<img") == shown.count("<img") + 1, "over time as well"
        assert (
            hear(silent) == '<div class="problem">silent.wav: silent throughout; record it again or leave it out</div>'
        )
        assert "two recordings" in judge(short, None)
        assert "short.wav is compared with itself" in judge(long, short) + judge(short, short)

    monkeypatch.setattr(uvicorn.Server, "run", visit)
    assert cli.main(["serve", "--port", "0"]) == 0
    line = r"the page is at http://127\.0\.0\.1:\d+ and the API below /api; Ctrl-C ends it\n"
    assert re.fullmatch(line, capsys.readouterr().out)
    assert not pathlib.Path(visited[0]).exists(), "recordings are removed"
