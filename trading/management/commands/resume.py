"""`manage.py resume [ACCOUNT] [--reason TEXT]`: allow orders again."""

from trading.management.commands import pause


class Command(pause.Command):
    help = "Allow orders again, for all accounts or one account."
    paused = False
