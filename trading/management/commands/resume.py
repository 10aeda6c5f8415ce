"""`manage.py resume [ACCOUNT] [--reason TEXT]`: allow orders again."""

from typing import ClassVar

from trading.management.kill_switch_command import KillSwitchCommand


class Command(KillSwitchCommand):
    """Turns the kill switch off."""

    help = "Allow orders again, for all accounts or one account."
    paused: ClassVar[bool] = False
