"""JSON of other programs: repeated keys are found, and every defect is a `ValueError`."""

import pytest

from trading.common.strict_json import read_json

REPEATED = '{"a": [{"b": 1, "b": 2}]}'


def test_read_json_with_a_repeated_key_names_it():
    content = read_json(REPEATED)
    assert (content, content.repeated, content["a"][0].repeated) == ({"a": [{"b": 2}]}, (), ("b",))


@pytest.mark.parametrize("text", [REPEATED, '{"a": 1, "a": 1}', "{", b"\xff\xff", "[" * 100_000])
def test_read_json_with_unique_keys_refuses_every_defect(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the interface
        read_json(text, unique_keys=True)
    assert read_json('{"a": {"b": 1}, "c": 2}', unique_keys=True) == {"a": {"b": 1}, "c": 2}
