"""Settings of the server: flags go before the environment, and that before `.env`."""

import argparse

import pytest

from lin_jax.apps.settings import Settings, environment
from lin_jax.errors import ConfigError

NOTHING = argparse.Namespace(port=None)


def test_defaults_are_for_this_machine_alone():
    assert Settings.read(NOTHING, {}) == Settings(host="127.0.0.1", port=7860, api_key="")


def test_flags_go_before_the_environment():
    given = {"LIN_PORT": "80", "LIN_HOST": "::", "LIN_MAX_SECONDS": "speak=5 repair=9"}
    args = argparse.Namespace(port=81, allow_host=["a", "b"])
    settings = Settings.read(args, given | {"LIN_RATE_LIMIT": "", "LIN_API_KEY": "k"})
    assert (settings.port, settings.host, settings.allow_host) == (81, "::", ("a", "b"))
    assert (settings.max_seconds, settings.rate_limit) == (("speak=5", "repair=9"), 0.0)
    assert settings.api_key == "k"
    assert "'k'" not in repr(settings)
    assert Settings.read(NOTHING, {"LIN_MAX_MEGABYTES": "1.5"}).max_megabytes == 1.5


def test_no_number_is_named():
    with pytest.raises(ConfigError, match="LIN_PORT=eighty: give a number"):
        Settings.read(NOTHING, {"LIN_PORT": "eighty"})


@pytest.mark.parametrize(("name", "number"), [("RATE_LIMIT", "-1"), ("MAX_MEGABYTES", "nan")])
def test_a_number_that_is_not_positive_is_refused(name, number):
    with pytest.raises(ConfigError, match="are positive numbers"):
        Settings.read(NOTHING, {f"LIN_{name}": number})


def test_the_environment_goes_before_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LIN_PORT", "1")
    monkeypatch.delenv("LIN_HOST", raising=False)
    text = "# a comment\n\nLIN_PORT=2\nexport LIN_HOST = 'a b'\nLIN_API_KEY=\"x=y\"\n"
    (tmp_path / ".env").write_text(text)
    known = environment(tmp_path)
    assert [known[f"LIN_{name}"] for name in ("PORT", "HOST", "API_KEY")] == ["1", "a b", "x=y"]
    assert environment(tmp_path / "none")["LIN_PORT"] == "1"


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / ".env").write_text("LIN_PORT=1\nLIN_HOST\n")
    with pytest.raises(ConfigError, match=r"\.env, line 2: give NAME=VALUE"):
        environment(tmp_path)
    (tmp_path / ".env").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"\.env: cannot be read"):
        environment(tmp_path)
