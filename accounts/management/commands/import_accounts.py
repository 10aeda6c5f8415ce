"""`manage.py import_accounts FILE`."""

from accounts.management.base import ImportCommand
from accounts.yaml.accounts_file import import_accounts


class Command(ImportCommand):
    """Imports accounts."""

    help = "Imports accounts from a YAML file: all of it, or nothing. Can be run again."
    importer = staticmethod(import_accounts)
