"""Write docs/errors.md from the tables of error codes. `make docs` runs it."""

from collections.abc import Mapping
from pathlib import Path

from accounts.yaml.reading import ImportRefused
from brokers import exceptions
from calculator import reason_codes
from trading import error_codes

DOCUMENT = Path(__file__).parents[1] / "docs" / "errors.md"
HEAD = """# Error codes

Every refusal, failure and warning has a code for programs and a message for users. The message of a run states what
happened and what to do; this page defines each code. `make docs` generates it from the tables in the code.
"""


def broker_errors() -> list[type[exceptions.BrokerError]]:
    """Return all exceptions of the broker layer."""
    found = vars(exceptions).values()
    return [error for error in found if isinstance(error, type) and issubclass(error, exceptions.BrokerError)]


def sections() -> dict[str, Mapping[str, str]]:
    """Return the codes with their meaning, by section of the document."""
    return {
        "Rejected events": error_codes.EVENT_REJECTIONS,
        "Guards": {code: guard.meaning for code, guard in error_codes.GUARDS.items()},
        "Allocations": error_codes.ALLOCATIONS,
        "Runs and approvals": error_codes.RUN_ERRORS,
        "Warnings of a run": error_codes.WARNINGS,
        "Standing of an account": error_codes.STANDINGS,
        "API": error_codes.API_REFUSALS,
        "Brokers": {error.code: (error.__doc__ or "").partition("\n")[0] for error in broker_errors()},
        "Calculator: refusals": reason_codes.REFUSALS,
        "Calculator: reasons": reason_codes.REASONS,
        "Calculator: warnings": reason_codes.WARNINGS,
        "Imports": {
            ImportRefused.code: "The file was not imported, and nothing has changed. Every problem is listed with "
            "file, entry and field."
        },
    }


def document() -> str:
    """Return the text of docs/errors.md."""
    lines = [HEAD]
    for title, codes in sections().items():
        is_guards = title == "Guards"
        lines += [f"## {title}\n"]
        lines += ["| Code | Meaning | If it fails |\n|---|---|---|" if is_guards else "| Code | Meaning |\n|---|---|"]
        for code, meaning in codes.items():
            effect = f" {error_codes.GUARDS[code].on_fail.value} |" if is_guards else ""
            lines.append(f"| `{code}` | {meaning} |{effect}")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    DOCUMENT.write_text(document())
