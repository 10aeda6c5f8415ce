"""Writing of YAML with exact numbers and keys in the given order."""

from decimal import Decimal

import yaml


class _Dumper(yaml.SafeDumper):
    """Dumper that supports Decimal."""


def _decimal(dumper: yaml.SafeDumper, number: Decimal) -> yaml.ScalarNode:
    text = f"{number.normalize():f}"
    return dumper.represent_scalar("tag:yaml.org,2002:float", text if "." in text else f"{text}.0")


_Dumper.add_representer(Decimal, _decimal)


def write_yaml(content: object) -> str:
    """Return the content as YAML."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
