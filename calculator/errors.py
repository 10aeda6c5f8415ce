"""The calculator's exception."""


class CalculationRefused(Exception):  # noqa: N818 - a result, not a failure
    """There is no plan, and nothing may be traded.

    Attributes:
        code: stable error code of `calculator.reason_codes.REFUSALS`.
        message: what is wrong and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
