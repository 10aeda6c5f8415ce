from accounts.management.base import ImportCommand
from accounts.yaml.accounts_file import import_accounts


class Command(ImportCommand):
    """Import accounts."""

    help = "Import accounts from a YAML file, completely or not at all. Can be repeated."
    importer = staticmethod(import_accounts)
