"""Imports heavy packages once, then forks a child for every job.

In: one JSON line per job on stdin: `{"id", "function", "request", "result", "log"}`. Out: JSON lines on stdout:
`{"ready": true}` or `{"failed": "..."}` once after the imports, `{"id", "pid"}` at each start, `{"id", "exit"}` at each
end (negative: the signal). Importing TensorFlow and Keras takes seconds, forking a child a fraction of one.

It ends when stdin ends, so it never outlives its supervisor; its children die with it. Linux only: a fork is not safe
once Apple's or Windows' frameworks are initialised, so there every job gets a fresh interpreter.

Run as `python -m exporters.jobs.fork_server MODULE ...`.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import sys
from pathlib import Path
from typing import Any

from exporters.jobs.child import perform
from exporters.process_lifetime import die_with_parent

_STDIN = 0


def _send(out: int, message: dict[str, Any]) -> None:
    os.write(out, (json.dumps(message) + "\n").encode())


def _child(task: dict[str, str], parent: int) -> int:
    """Runs in the fork: everything that it prints goes to its own log."""
    die_with_parent(parent)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return perform(task["function"], Path(task["request"]), Path(task["result"]))


def _fork(task: dict[str, str], out: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(out)
            code = _child(task, parent)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)  # never unwind into the loop of the server
    _send(out, {"id": task["id"], "pid": pid})
    return pid


def _reap(running: dict[int, str], out: int) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _send(out, {"id": running.pop(pid), "exit": os.waitstatus_to_exitcode(status)})


def _serve(out: int) -> None:
    running: dict[int, str] = {}
    # The end of a child is a signal, which select() does not report: each signal writes a byte to this pipe.
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only the wake-up matters
    selector = selectors.DefaultSelector()
    selector.register(_STDIN, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    pending = b""
    while True:
        for key, _ in selector.select():
            chunk = os.read(key.fd, 1 << 16)
            if key.fd == wake_read:
                _reap(running, out)
                continue
            if not chunk:  # the supervisor closed stdin or died
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                task = json.loads(line)
                running[_fork(task, out)] = task["id"]


def main() -> int:
    """Imports the modules named on the command line, then serves until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.dup(1)
    os.dup2(2, 1)  # what an import prints must not land in the protocol
    # An import makes no garbage, but looking for some takes a tenth of the time. Frozen objects are not looked at in
    # the children either, where each look would copy a page of shared memory.
    gc.disable()
    try:
        for module in sys.argv[1:]:
            importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - the process boundary: reported to the supervisor, which names it
        _send(out, {"failed": f"{type(error).__name__}: {error}"})
        return 1
    gc.freeze()
    gc.enable()
    _send(out, {"ready": True})
    _serve(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
