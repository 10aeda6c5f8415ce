from accounts.management.base import ExportCommand
from accounts.yaml.accounts_file import export_accounts


class Command(ExportCommand):
    """Export accounts."""

    help = "Export all accounts as YAML, in the format of import_accounts."
    exporter = staticmethod(export_accounts)
