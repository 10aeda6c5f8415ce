"""Where a secret comes from, when it is named in several places."""

import pytest

from rebalancer_site.environment import ConfigurationError, Environment, load
from tests.support.installation import Installation

NAME = "ALLOCATIONS_API_KEY"


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Makes the environment of variables and of a `.env` file; a value `@x` is a file that holds `x`."""

    def named(value):
        if not value.startswith("@"):
            return value
        path = tmp_path / value[1:]
        path.write_text(f"{value[1:]}\n")
        return str(path)

    def make(variables, in_env_file):
        for name in (NAME, f"{NAME}_FILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, named(value))
        file = tmp_path / "env"
        file.write_text("".join(f"{name}={named(value)}\n" for name, value in in_env_file.items()))
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
def test_the_environment_wins_over_the_file_and_a_value_over_the_name_of_a_file(
    environment, variables, in_env_file, found
):
    assert environment(variables, in_env_file).allocations_api_key.get_secret_value() == found


@pytest.mark.parametrize("where", [0, 1])
def test_a_file_that_is_not_there_is_refused_by_name(environment, where):
    places = [{}, {}]
    places[where] = {f"{NAME}_FILE": "/nowhere/key"}
    with pytest.raises(ConfigurationError, match=f"{NAME}_FILE names /nowhere/key, which cannot be read"):
        environment(*places)


def test_what_is_wrong_is_named_without_its_value_and_without_a_traceback(tmp_path):
    site = Installation(tmp_path, "", TRADING_MODE="canary", ORDER_TIMEOUT_SECONDS="1")
    done = site.manage("check", expect=1)
    assert done.stderr.splitlines() == [
        "TRADING_MODE: Input should be 'paper' or 'live'.",
        "ORDER_TIMEOUT_SECONDS: Input should be greater than or equal to 5.",
    ]
