"""What the documents promise."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from accounts.models import RebalancePolicy
from brokers.ibkr.errors import CODES as IBKR_CODES
from brokers.registry import broker_names, connector_class
from rebalancer_site.environment import Environment, is_secret
from tools.settings_docs import generated_files

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OURS = {"accounts", "trading", "brokers", "rebalancer_site"}


def text(name):
    return (ROOT / name).read_text()


@pytest.mark.parametrize(
    ("path", "content"), list(generated_files()), ids=lambda value: value.name if isinstance(value, Path) else ""
)
def test_settings_in_the_file_equal_the_generated_text(path, content):
    """After a change of a setting, run `make docs`."""
    assert path.read_text() == content


def test_every_setting_has_a_description_and_stands_in_both_files():
    for name, field in Environment.model_fields.items():
        assert field.description
        assert f"| `{name.upper()}`" in text("docs/configuration.md")
        assert f"\n#{name.upper()}=" in text(".env.example")


def test_every_secret_can_come_from_a_file():
    secrets = [name for name, field in Environment.model_fields.items() if is_secret(field)]
    assert len(secrets) >= 5
    assert all(f"`{name.upper()}_FILE`" in text("docs/configuration.md") for name in secrets)


@pytest.mark.parametrize("command", sorted(name for name, app in get_commands().items() if app in OURS))
def test_every_command_is_documented(command):
    assert re.search(rf"^\| `{command}[ `]", text("docs/commands.md"), re.MULTILINE)


@pytest.mark.parametrize("broker", broker_names())
def test_every_broker_is_in_the_guide(broker):
    assert f"| `{broker}` |" in text("docs/adding_a_broker.md")


@pytest.mark.parametrize("broker", broker_names())
def test_every_connector_setting_is_in_the_guide(broker):
    names = list(connector_class(broker).Settings.model_fields)
    assert re.findall(rf"^\| `{broker}` \| `(\w+)` \|", text("docs/adding_a_broker.md"), re.MULTILINE) == names


def test_every_code_of_interactive_brokers_is_explained_as_the_program_explains_it():
    rows = text("docs/operations.md")
    for code, known in IBKR_CODES.items():
        assert f"| {code} | {known.description} | {known.action} |" in rows


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_the_two_commands_of_the_readme_are_targets():
    makefile = text("Makefile")
    for target in re.findall(r"^make (\w+)", text("README.md"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_value_of_the_former_config_yaml_has_its_row():
    import yaml

    rows = text("docs/configuration.md")
    content = yaml.safe_load((ROOT / "tests/e2e/data/config.yaml").read_text())
    for section, values in content.items():
        for name, value in values.items():
            names = (
                [f"{section}.{name}.{inner}" for inner in value] if isinstance(value, dict) else [f"{section}.{name}"]
            )
            assert all(f"`{full}`" in rows for full in names), name


def test_every_field_of_a_policy_has_a_description():
    without = [
        field.name
        for field in RebalancePolicy._meta.get_fields()
        if hasattr(field, "help_text") and not field.help_text and field.name not in {"id", "name"}
    ]
    assert without == []
