"""The calculator's errors: one class, a code for each refusal (`calculator.reason_codes.REFUSALS`)."""


class CalculationRefused(Exception):  # noqa: N818 - it is an answer, not a failure
    """There is no plan, and nothing may be traded.

    Attributes:
        code: stable word of `calculator.reason_codes.REFUSALS`.
        message: sentence that says what is wrong and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
