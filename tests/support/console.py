"""One warm process inside an installation: it runs the statements that a test sends, and says what `answer` is.

Run as `python -m tests.support.console`. A line in is a JSON object with `code`; with `apart` it runs in a process of
its own, which may be killed. A line out is a JSON object with `answer` and `printed`, `exit` (of a process apart), or
`error`.
"""

import contextlib
import io
import json
import os
import sys
import traceback


def main():
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rebalancer_site.settings")
    django.setup()
    from django.db import connections

    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request.get("apart"):
                connections.close_all()
                reply = {"exit": _apart(request["code"])}
            else:
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    answer = _run(request["code"])
                reply = {"answer": answer, "printed": printed.getvalue()}
        except Exception:  # noqa: BLE001 - told to the test, whatever it is
            reply = {"error": traceback.format_exc()}
            connections.close_all()
        sys.stdout.write(json.dumps(reply, default=str) + "\n")
        sys.stdout.flush()


def _run(code):
    names = {}
    exec(compile(code, "<console>", "exec"), names)  # noqa: S102 - a test's own statements
    return names.get("answer")


def _apart(code):
    pid = os.fork()
    if pid == 0:
        try:
            _run(code)
        except BaseException:  # noqa: BLE001 - the process apart ends with 1, whatever it is
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
