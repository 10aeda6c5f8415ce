"""`manage.py pause [ACCOUNT] [--reason TEXT]`: submit no more orders until `resume`."""

from typing import ClassVar

from trading.management.kill_switch_command import KillSwitchCommand


class Command(KillSwitchCommand):
    """Turns the kill switch on."""

    help = "Submit no more orders, for all accounts or one account. Orders already submitted remain active."
    paused: ClassVar[bool] = True
