"""The calculator's exception."""

from calculator.texts import clipped

LONGEST = 1000
"""Maximum characters of a message; numbers of the input can have hundreds of digits."""


class CalculationRefused(Exception):  # noqa: N818 - a result, not a failure
    """There is no plan, and nothing may be traded.

    Attributes:
        code: stable error code of `calculator.reason_codes.REFUSALS`.
        message: what is wrong and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = clipped(message, LONGEST)
        super().__init__(self.message)
