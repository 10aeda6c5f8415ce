"""A process inside an installation that runs the statements of a test, and returns the value of `answer`.

Run it as `python -m tests.support.console`. Each line of input is a JSON object with `code`; with `apart`, the code runs
in a forked process that can be killed. Each line of output is a JSON object with `answer` and `printed`, with `exit` (of
a forked process), or with `error`.
"""

import contextlib
import io
import json
import os
import sys
import traceback


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rebalancer_site.settings")
    django.setup()
    from django.db import connections

    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, object]
        try:
            if request.get("apart"):
                connections.close_all()
                reply = {"exit": _run_forked(request["code"])}
            else:
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    answer = _run(request["code"])
                reply = {"answer": answer, "printed": printed.getvalue()}
        except Exception:  # noqa: BLE001 - every error is reported to the test
            reply = {"error": traceback.format_exc()}
            connections.close_all()
        sys.stdout.write(json.dumps(reply, default=str) + "\n")
        sys.stdout.flush()


def _run(code: str) -> object:
    names: dict[str, object] = {}
    exec(compile(code, "<console>", "exec"), names)  # noqa: S102 - statements of a test
    return names.get("answer")


def _run_forked(code: str) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            _run(code)
        except BaseException:  # noqa: BLE001 - the forked process exits with 1 after any error
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
