"""docker-compose.yaml as an engine reads it: anchors merged, variables put in, missing ones refused."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<how>:-|:\?)(?P<word>[^}]*))?\})")


class VariableMissingError(Exception):
    """A variable that has to be set is not; the message is the sentence of the compose file."""


def variables_of(name="docker-compose.yaml"):
    """The variables that a compose file names, comments left out."""
    text = "\n".join(line.split(" #")[0] for line in (ROOT / name).read_text().splitlines() if line.strip()[:1] != "#")
    return {match["name"]: match["word"] for match in VARIABLE.finditer(text) if match["name"]}


def load(name="docker-compose.yaml", **variables):
    """The file's content with these variables."""
    return _filled(yaml.safe_load((ROOT / name).read_text()), variables)


def _filled(value, variables):
    if isinstance(value, dict):
        return {key: _filled(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, variables) for inner in value]
    return VARIABLE.sub(lambda match: _word(match, variables), value) if isinstance(value, str) else value


def _word(match, variables):
    if match["escaped"]:
        return "$"
    if found := variables.get(match["name"], ""):
        return found
    if match["how"] == ":?":
        raise VariableMissingError(match["word"])
    return match["word"] or ""
