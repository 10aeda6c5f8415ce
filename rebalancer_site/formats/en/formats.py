"""Dates and times of the admin, in the forms of `trading.common.formats`. Django reads these names."""

_ZONE = r"\N\e\w \Y\o\r\k \t\i\m\e"

DATE_FORMAT = SHORT_DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = f"{DATE_FORMAT}, {TIME_FORMAT} {_ZONE}"
YEAR_MONTH_FORMAT = "M Y"
MONTH_DAY_FORMAT = "j M"
