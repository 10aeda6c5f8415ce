from accounts.management.base import ImportCommand
from accounts.yaml.targets_file import import_targets


class Command(ImportCommand):
    """Import static targets."""

    help = "Import the targets of static strategies from a YAML file, completely or not at all. Can be repeated."
    importer = staticmethod(import_targets)
