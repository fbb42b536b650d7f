"""Runs inside of a job's process: calls one function and writes one answer.

In: the name of a function and a file with its request. Out: a file with `{"status": ..., "value" | "message": ...}`,
written in one step, so that a supervisor finds either the whole answer or none. This is the process boundary: the
only place where any exception is caught.

Run as `python -m exporters.jobs.child FUNCTION REQUEST RESULT PARENT` in a fresh interpreter, or called by the fork
server in a fork.
"""

import json
import logging
import os
import re
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from exporters.errors import BadInput, Limited
from exporters.files.atomic import write
from exporters.jobs.messages import decode_request, encode_answer, resolve
from exporters.process_lifetime import die_with_parent

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NICENESS = 10  # of 19


def _answer(name: str, request: Path) -> dict[str, Any]:
    try:
        function = resolve(name)
        value = encode_answer(function, function(decode_request(function, request.read_text("utf-8"))))
    except BadInput as error:
        return {"status": "bad input", "message": error.message, "next_step": error.next_step}
    except Limited as error:
        traceback.print_exc()
        return {"status": "limited", "message": error.message, "next_step": error.next_step, "limit": error.limit}
    except MemoryError as error:
        traceback.print_exc()
        return {"status": "out of memory", "message": f"MemoryError: {error}"}
    except Exception as error:  # noqa: BLE001 - the process boundary: whatever a converter raises becomes a record
        traceback.print_exc()
        return {"status": "python error", "message": _one_line(error)}
    return {"status": "ok", "value": value}


def _one_line(error: BaseException) -> str:
    """Returns the error's type and message in one line, at most 2,000 characters, without the colours of Keras."""
    text = " ".join(_COLOUR.sub("", str(error)).split())
    limit = 2000
    return f"{type(error).__name__}: {text[:limit]}{' ...' if len(text) > limit else ''}"


def perform(function: str, request: Path, result: Path) -> int:
    """Calls the function with the request and writes the answer.

    Temporary files go next to the request: a killed job cannot remove its own, but the owner of that folder can.

    Returns:
        0 when the answer is on disk, 1 when even that failed (a full disk, say).
    """
    # The supervisor and the browser with its one GPU process serve many jobs, so they get the processor first.
    os.nice(_NICENESS)
    logging.basicConfig(level=logging.INFO)  # the run monitor reads level and logger
    # In a fork `tempfile` may have cached its folder already; native code and child processes read the variable.
    os.environ["TMPDIR"] = tempfile.tempdir = str(request.parent.absolute())
    answer = _answer(function, request)
    try:
        write(result, json.dumps(answer, allow_nan=False))
    except (OSError, TypeError, ValueError):
        traceback.print_exc()
        return 1
    return 0


def main() -> int:
    """Runs a job in a fresh interpreter."""
    function, request, result, parent = sys.argv[1:]
    die_with_parent(int(parent))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor ends us
    return perform(function, Path(request), Path(result))


if __name__ == "__main__":
    sys.exit(main())
