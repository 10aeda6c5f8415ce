"""Rules of a replacement set must not lead in a circle."""

from collections.abc import Mapping


def find_cycle(targets: Mapping[str, str]) -> list[str]:
    """The symbols of a circle among the rules (source -> target), or an empty list."""
    for start in sorted(targets):
        path = [start]
        while (following := targets.get(path[-1])) is not None:
            if following in path:
                return [*path[path.index(following) :], following]
            path.append(following)
    return []
