from accounts.management.base import ExportCommand
from accounts.yaml.targets_file import export_targets


class Command(ExportCommand):
    """Export static targets."""

    help = "Export the targets of all static strategies as YAML, in the format of import_targets."
    exporter = staticmethod(export_targets)
