"""Precedence of the sources of a secret, and messages about invalid settings."""

import pytest

from rebalancer_site.environment import ConfigurationError, Environment, load
from tests.support.installation import Installation

NAME = "ALLOCATIONS_API_KEY"


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Return a function that loads variables and a `.env` file; a value `@x` becomes a file that contains `x`."""

    def resolve(value):
        if not value.startswith("@"):
            return value
        path = tmp_path / value[1:]
        path.write_text(f"{value[1:]}\n")
        return str(path)

    def make(variables, in_env_file):
        for name in (NAME, f"{NAME}_FILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, resolve(value))
        file = tmp_path / "env"
        file.write_text("".join(f"{name}={resolve(value)}\n" for name, value in in_env_file.items()))
        monkeypatch.setitem(Environment.model_config, "env_file", file)
        return load()

    return make


@pytest.mark.parametrize(
    ("variables", "in_env_file", "found"),
    [
        ({NAME: "a"}, {}, "a"),
        ({f"{NAME}_FILE": "@b"}, {}, "b"),
        ({}, {NAME: "c"}, "c"),
        ({}, {f"{NAME}_FILE": "@d"}, "d"),
        ({NAME: "a", f"{NAME}_FILE": "@b"}, {NAME: "c", f"{NAME}_FILE": "@d"}, "a"),
        ({f"{NAME}_FILE": "@b"}, {NAME: "c", f"{NAME}_FILE": "@d"}, "b"),
        ({NAME: "", f"{NAME}_FILE": "@b"}, {}, "b"),
        ({}, {NAME: "c", f"{NAME}_FILE": "@d"}, "c"),
        ({}, {NAME: "", f"{NAME}_FILE": "@d"}, "d"),
        ({}, {}, ""),
    ],
)
def test_secret_in_several_sources_uses_the_environment_and_the_direct_value_first(
    environment, variables, in_env_file, found
):
    assert environment(variables, in_env_file).allocations_api_key.get_secret_value() == found


@pytest.mark.parametrize("where", [0, 1])
def test_secret_with_missing_file_is_refused_by_name(environment, where):
    places = [{}, {}]
    places[where] = {f"{NAME}_FILE": "/nowhere/key"}
    with pytest.raises(ConfigurationError, match=f"{NAME}_FILE: cannot read /nowhere/key"):
        environment(*places)


@pytest.mark.process
def test_invalid_settings_are_named_without_value_and_traceback(tmp_path):
    site = Installation(tmp_path, "", TRADING_MODE="canary", ORDER_TIMEOUT_SECONDS="1")
    done = site.manage("check", expect=1)
    assert done.stderr.splitlines() == [
        "TRADING_MODE: Input should be 'paper' or 'live'.",
        "ORDER_TIMEOUT_SECONDS: Input should be greater than or equal to 5.",
    ]
