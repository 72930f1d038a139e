"""A job is whatever file of the package has a JOB: another one needs no list to be edited."""

import pytest
from fastapi import testclient
from helpers.recordings import tone

from lin_jax import apps
from lin_jax.apps import api, cli, jobs, serving
from lin_jax.audio import files
from lin_jax.bundles import Prediction
from lin_jax.errors import ConfigError

WHISPER = """
from lin_jax.apps.classify import classification_job

JOB = classification_job("whisper", "say whether it is whispered", "lin whisper examples:", "Is it?")
"""


class Whisper:
    """Stands in for a classifier."""

    task, name = "classification", "whisper"

    def predict(self, path):
        return Prediction("whispered", {"whispered": 1.0}, 1.0)


@pytest.fixture
def sixth_job(tmp_path, monkeypatch):
    """A file more in the package, and another that cannot be imported and is no job."""
    (tmp_path / "whisper.py").write_text(WHISPER)
    (tmp_path / "not_a_job.py").write_text("raise ImportError")
    monkeypatch.setattr(apps, "__path__", [*apps.__path__, str(tmp_path)])
    jobs.discover.cache_clear()
    yield
    jobs.discover.cache_clear()


def test_the_jobs_that_ship():
    names = [job.name for job in jobs.discover()]
    assert names == [
        *("convert", "detect", "embed", "emotion", "gender"),
        *("identify", "repair", "speak", "verify"),
    ]


def test_another_job_is_another_file(sixth_job, tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert "say whether it is whispered" in capsys.readouterr().out
    models = serving.assign([serving.Model(Whisper(), "")])
    assert serving.addresses(models) == ["/v1/detect", "/v1/whisper"]
    with testclient.TestClient(api.create(models), base_url="http://localhost") as client:
        files.write(tmp_path / "a.wav", tone(), 16000)
        recording = (tmp_path / "a.wav").read_bytes()
        answer = client.post("/whisper", files={"file": ("a.wav", recording)}).json()
    assert answer["whisper"] == "whispered"


def test_a_bundle_without_a_job_is_named():
    with pytest.raises(ConfigError, match=r"whisper: a classification bundle that has no job"):
        jobs.done_by(Whisper())
