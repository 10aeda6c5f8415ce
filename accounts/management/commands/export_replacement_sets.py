from accounts.management.base import ExportCommand
from accounts.yaml.replacement_sets_file import export_replacement_sets


class Command(ExportCommand):
    """Export replacement sets."""

    help = "Export all replacement sets as YAML, in the format of import_replacement_sets."
    exporter = staticmethod(export_replacement_sets)
