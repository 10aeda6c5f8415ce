"""`manage.py resume [ACCOUNT] [--reason WORDS]`: orders may be sent again, of all accounts or of one."""

from typing import ClassVar

from trading.management.kill_switch_command import KillSwitchCommand


class Command(KillSwitchCommand):
    """The kill switch, off."""

    help = "Lets orders be sent again, of all accounts or of one."
    paused: ClassVar[bool] = False
