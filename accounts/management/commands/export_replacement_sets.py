"""`manage.py export_replacement_sets`."""

from accounts.management.base import ExportCommand
from accounts.yaml.replacement_sets_file import export_replacement_sets


class Command(ExportCommand):
    """Exports replacement sets."""

    help = "Writes all replacement sets as YAML, in the form that the import reads."
    exporter = staticmethod(export_replacement_sets)
