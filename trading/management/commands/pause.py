"""`manage.py pause [ACCOUNT] [--reason WORDS]`: no order is sent, of all accounts or of one, until `resume`."""

from typing import ClassVar

from trading.management.kill_switch_command import KillSwitchCommand


class Command(KillSwitchCommand):
    """The kill switch, on."""

    help = "Sends no more orders, of all accounts or of one. Orders at the broker stay as they are."
    paused: ClassVar[bool] = True
