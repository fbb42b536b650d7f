"""Starts Chromium, keeps it and cleans up after it: `python -m validators.web.browser_process CHROMIUM`.

In: the executable's path. Out: one line of JSON on stdout, `{"endpoint", "folder"}` or `{"error", "folder"}`. Then it
waits: for its stdin to end (the supervisor closed it, or died), for TERM, or for Chromium to die. Whichever comes
first, it leaves no process and no folder behind.
"""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from exporters.process_lifetime import adopt_orphans, die_with_parent
from validators.hardware.graphics_cards import device_nodes
from validators.web.gpu_adapters import gpu_flags

FOLDER_PREFIX = "paritygate-web-"
"""Prefix of the folder of a Chromium that we started: it identifies our processes."""
FLAGS = (
    "--headless",
    "--remote-debugging-port=0",
    "--remote-debugging-address=127.0.0.1",
    # Cells open their own tabs: without the first window the start costs 0.4 s of CPU instead of 1.3 s.
    "--no-startup-window",
    "--no-first-run",
    "--no-default-browser-check",
    # A container's /dev/shm is 64 MB; one large tensor on its way to the page would crash the tab.
    "--disable-dev-shm-usage",
    # Samples may be private: every request of the page or the browser to another machine goes to a dead proxy.
    # Loopback addresses bypass the proxy by Chromium's own rule.
    "--proxy-server=http://127.0.0.1:9",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-breakpad",
    "--disable-extensions",
    "--no-pings",
    # Several cells share one browser and none of their tabs is in front.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    # Else every tab opens a window whose address bar loads its own pages, and a spare renderer: 0.8 s of CPU a cell
    # (puppeteer#15278).
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,SpareRendererForSitePerProcess",
)

_CLOSE_SECONDS = 5.0


def launch_flags(profile: Path) -> list[str]:
    """Returns Chromium's command line after the executable, for a throw-away profile folder."""
    flags = [*FLAGS, *gpu_flags(device_nodes()), f"--user-data-dir={profile}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium refuses to start as root with its sandbox
    return flags


def _scratch() -> Path:
    """Makes Chromium's folder; the path of a socket that it puts there must stay below 108 bytes."""
    parent = tempfile.gettempdir()
    fits = len(f"{parent}/{FOLDER_PREFIX}12345678/org.chromium.Chromium.123456/SingletonSocket") < 108  # noqa: PLR2004 - sun_path
    return Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=parent if fits else "/tmp"))  # noqa: S108 - a fresh folder


def _launch(chromium: Path, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [str(chromium), *launch_flags(folder / "profile")],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            # Its sockets, caches and crash reports go when the folder goes, and none lands in the user's home.
            env={**os.environ, **dict.fromkeys(("TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(folder))},
            process_group=0,  # Ctrl-C reaches only the supervisor, and one signal later ends the whole tree
            preexec_fn=functools.partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - this process has one thread
        )


def _await_endpoint(process: subprocess.Popen[bytes], log: Path, stop: threading.Event) -> dict[str, str]:
    while not stop.wait(0.01):
        ended = process.poll() is not None
        output = log.read_text(errors="replace")
        found = re.search(r"DevTools listening on (ws://\S+)", output)
        if found:
            return {"endpoint": found[1]}
        if ended:
            return {"error": f"it ended with code {process.returncode} and said: {output.strip()[-2000:]}"}
    return {"error": "it was told to stop"}


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kills Chromium's process group and waits for every process of it, grandchildren included (see `main`)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)  # the profile is thrown away, so nothing needs an orderly end
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _CLOSE_SECONDS
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
        except ChildProcessError:
            return


def _stop_at_end_of_stdin(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):  # not sys.stdin.read(): its lock would abort the interpreter's own end
        pass
    stop.set()


def _announce(folder: Path, announcement: dict[str, str]) -> None:
    """Writes the line that the supervisor waits for."""
    print(json.dumps({**announcement, "folder": str(folder)}), flush=True)  # noqa: T201 - stdout is the way to the supervisor


def main(arguments: list[str]) -> int:
    """Runs one Chromium until told to stop; the only argument is the executable."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the supervisor decides the order of the end
    adopt_orphans()  # Chromium's orphans become our children, so that none outlives us unseen
    folder = _scratch()
    process = None
    try:
        process = _launch(Path(arguments[0]), folder, folder / "log")
        threading.Thread(target=_stop_at_end_of_stdin, args=(stop,), daemon=True).start()
        _announce(folder, announced := _await_endpoint(process, folder / "log", stop))
        while "error" not in announced and process.poll() is None and not stop.wait(0.1):
            pass
    except OSError as error:  # no executable of this machine's kind, a script without an interpreter, no memory ...
        _announce(folder, {"error": f"{arguments[0]} cannot be run: {error}"})
    finally:
        if process is not None:
            _kill_tree(process)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
