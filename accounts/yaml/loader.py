"""A YAML loader that guesses nothing: a plain scalar stays text until its field judges it.

YAML 1.1 reads 0123 as 83, 12:34 as 754, 0x1F as 31, NO as false and 2026-02-30 as an error. Here only plain decimal
numbers, true, false and null are more than text. Keys are always text; aliases and other tags are refused.
"""

import re
from decimal import Decimal
from typing import Any

import yaml

from accounts.refusal_text import quoted

MAX_DEPTH = 20
"""Maximum nesting of lists and mappings."""
TAG = "tag:yaml.org,2002:"
DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
NULL = re.compile(r"~|null|Null|NULL|")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class TextLoader(yaml.SafeLoader):
    """Loader of files that users wrote. Decimal numbers are `Decimal`."""

    yaml_implicit_resolvers = {}
    yaml_constructors = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node; refuse an alias, since a few lines of aliases can expand to gigabytes, and deep nesting."""
        if self.check_event(yaml.AliasEvent):
            raise _problem("aliases are not allowed", self.get_mark())
        if self._depth >= MAX_DEPTH:
            raise _problem(f"nested more than {MAX_DEPTH} levels deep", self.get_mark())
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_text(self, node: Any) -> str:
        """Return a scalar as it is written, without its quotes."""
        text = str(self.construct_scalar(node))
        if UNSTORABLE.search(text):
            raise _problem("a character that is not allowed in text", node.start_mark)
        return text

    def construct_number(self, node: Any) -> int | Decimal:
        """Return a plain decimal number."""
        text = self.construct_scalar(node)
        if INTEGER.fullmatch(text):
            return int(text)
        if DECIMAL.fullmatch(text):
            return Decimal(text)
        raise _problem(f"{quoted(text)} is not a plain decimal number", node.start_mark)

    def construct_boolean(self, node: Any) -> bool:
        """Return true or false."""
        text = self.construct_scalar(node)
        if not BOOLEAN.fullmatch(text):
            raise _problem(f"{quoted(text)} is neither true nor false", node.start_mark)
        return bool(text.lower() == "true")

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Return a mapping with text as keys; refuse a key that appears twice."""
        content: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _problem("a key must be text", key_node.start_mark)
            key = self.construct_text(key_node)
            if key in content:
                raise _problem(f"{quoted(key)} appears twice", key_node.start_mark)
            content[key] = self.construct_object(value_node, deep=True)
        return content

    def construct_list(self, node: Any) -> list[Any]:
        """Return a list."""
        return self.construct_sequence(node, deep=True)

    def construct_nothing(self, node: Any) -> None:
        """Return null, however it is written."""
        self.construct_scalar(node)


def _problem(text: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=mark)


for tag, pattern in (("float", DECIMAL), ("int", INTEGER), ("bool", BOOLEAN), ("null", NULL)):
    TextLoader.add_implicit_resolver(TAG + tag, re.compile(rf"(?:{pattern.pattern})\Z"), None)
for tag, construct in {
    "str": TextLoader.construct_text,
    "int": TextLoader.construct_number,
    "float": TextLoader.construct_number,
    "bool": TextLoader.construct_boolean,
    "null": TextLoader.construct_nothing,
    "map": TextLoader.construct_mapping,
    "seq": TextLoader.construct_list,
}.items():
    TextLoader.add_constructor(TAG + tag, construct)  # type: ignore[arg-type]  # methods of different results
TextLoader.add_constructor(None, TextLoader.construct_undefined)  # type: ignore[type-var]
