"""`manage.py export_accounts`."""

from accounts.management.base import ExportCommand
from accounts.yaml.accounts_file import export_accounts


class Command(ExportCommand):
    """Exports accounts."""

    help = "Writes all accounts as YAML, in the form that the import reads."
    exporter = staticmethod(export_accounts)
