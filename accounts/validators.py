from django.core.validators import RegexValidator

STRATEGY_NAME = RegexValidator(
    r"\A[a-z0-9][a-z0-9-]{0,63}\Z", "Use lower-case letters, digits and hyphens. The name is also the channel."
)
SET_NAME = RegexValidator(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z", "Use letters, digits, hyphens and underscores.")
ACCOUNT_ID = RegexValidator(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z", "Use letters, digits, hyphens and underscores.")
SYMBOL_PATTERN = r"\A[A-Z][A-Z0-9.-]{0,14}\Z"
SYMBOL = RegexValidator(SYMBOL_PATTERN, "Use upper-case letters, digits, dots and hyphens.")
