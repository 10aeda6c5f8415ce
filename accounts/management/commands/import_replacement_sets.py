from accounts.management.base import ImportCommand
from accounts.yaml.replacement_sets_file import import_replacement_sets


class Command(ImportCommand):
    """Import replacement sets."""

    help = "Import replacement sets from a YAML file, completely or not at all. Can be repeated."
    importer = staticmethod(import_replacement_sets)
