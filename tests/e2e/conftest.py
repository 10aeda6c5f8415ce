"""Installations with real processes."""

from tests.support.installations import migrated, new_installation  # noqa: F401 - fixtures
