"""`Dockerfile` and `compose.yaml`, whose paths, extras, commands and ports are those of the project."""

import json
import pathlib
import re
from urllib.parse import urlparse

import pytest
import setuptools

from lin_jax import compilation_cache
from lin_jax.apps import access, cli, gallery
from lin_jax.bundles import saved_voices

ROOT = pathlib.Path(__file__).parents[1]
HOME = "/home/lin"
FILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
SERVICE_PORT = "7860"


def instructions(name: str) -> list[str]:
    """What stands after an instruction, of each of its lines."""
    return re.findall(rf"^ *{name} (.+)$", FILE, re.MULTILINE)


@pytest.fixture
def service():
    """Of the one service, what compose says."""
    yaml = pytest.importorskip("yaml")
    (service,) = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    return service


@pytest.fixture
def packaging(monkeypatch):
    """What `setup.py` hands over."""
    given = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    path = ROOT / "setup.py"
    exec(compile(path.read_text(), path, "exec"), {"__file__": str(path)})
    return given


def test_all_that_is_installed_is_copied(packaging):
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    ignored = set((ROOT / ".dockerignore").read_text().split())
    assert all((ROOT / source).exists() for source in copied)
    assert not copied & ignored
    packages = {name.partition(".")[0] for name in packaging["packages"]}
    assert packages | {"setup.py", "pyproject.toml"} | set(packaging["license_files"]) <= copied


def test_extras_are_those_of_the_package(packaging, service):
    default = re.search(r"ARG EXTRAS=(\S+)", FILE)[1]
    named = re.findall(r"EXTRAS=([\w,]+)", FILE + (ROOT / "compose.yaml").read_text())
    assert {extra for extras in named for extra in extras.split(",")} <= {
        *packaging["extras_require"]
    }
    assert service["build"]["args"] == {"EXTRAS": f"${{EXTRAS:-{default}}}"}


def test_it_answers_where_it_is_asked(service):
    (command,) = (json.loads(line) for line in instructions("CMD") if line.startswith("["))
    assert json.loads(*instructions("ENTRYPOINT")) == ["lin"]
    args = cli._parser().parse_args(command)
    assert (args.command, args.host, args.port) == ("serve", "0.0.0.0", int(SERVICE_PORT))
    assert instructions("EXPOSE") == [SERVICE_PORT]
    assert [port.rpartition(":")[2] for port in service["ports"]] == [SERVICE_PORT]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    health = urlparse(re.search(r"http://[^']+", FILE[FILE.index("HEALTHCHECK") :])[0])
    assert health.netloc == f"127.0.0.1:{SERVICE_PORT}"
    assert health.path in access.OPEN


def test_what_is_written_is_on_the_volume(service):
    assert service["read_only"]
    assert instructions("USER") == ["lin"]
    (volume,) = (pathlib.Path(each.partition(":")[2]) for each in service["volumes"])
    assert pathlib.Path(re.search(r"MPLCONFIGDIR=(\S+)", FILE)[1]).is_relative_to(volume)
    for folder in (compilation_cache.FOLDER, saved_voices.FOLDER, gallery.DEFAULT):
        assert pathlib.Path(str(folder).replace("~", HOME)).is_relative_to(volume)
    assert f"mkdir --mode=700 {volume.name}" in FILE
