#!/usr/bin/env python
"""Command line of Django."""

import os
import sys


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rebalancer_site.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - needs DJANGO_SETTINGS_MODULE

    from rebalancer_site.environment import ConfigurationError  # noqa: PLC0415 - as above

    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
