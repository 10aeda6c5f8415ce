"""`manage.py import_replacement_sets FILE`."""

from accounts.management.base import ImportCommand
from accounts.yaml.replacement_sets_file import import_replacement_sets


class Command(ImportCommand):
    """Imports replacement sets."""

    help = "Imports replacement sets from a YAML file: all of it, or nothing. Can be run again."
    importer = staticmethod(import_replacement_sets)
