"""The shared Chromium: how it is found, that it starts again, and that nothing of it is ever left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from processes import below

from exporters.errors import BadInput, Broken, Cancelled
from validators.hardware import chromium
from validators.hardware.chromium import find_chromium
from validators.web.browser import BrowserHost
from validators.web.browser_process import FOLDER_PREFIX, _scratch, launch_flags
from validators.web.devtools import open_page
from validators.web.page_server import PageServer


def executable(path: Path, script: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(0o755)
    return path


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


# Finding it.


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine with no Chromium."""
    monkeypatch.delenv(chromium.CHROMIUM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(chromium, "_SHELLS", ("chrome-headless-shell",))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "builds"))
    return tmp_path


SHELL_BUILD = "builds/chromium_headless_shell-1200/chrome-linux/headless_shell"
BUILD = "builds/chromium-1200/chrome-linux64/chrome"
BROWSERS = ("bin/google-chrome", "bin/chromium")
SHELL = "bin/chrome-headless-shell"


@pytest.mark.parametrize(
    ("cards", "worst_first"),
    [
        pytest.param((), (BUILD, SHELL_BUILD, *BROWSERS, SHELL), id="no card"),
        pytest.param((Path("/dev/dri/renderD128"),), (SHELL_BUILD, BUILD, SHELL, *BROWSERS), id="a card"),
    ],
)
def test_path_goes_before_playwrights_builds_and_one_with_windows_first_beside_a_card(
    bare, monkeypatch, cards, worst_first
):
    monkeypatch.setattr(chromium, "device_nodes", lambda: cards)
    assert find_chromium() is None
    for better in worst_first:
        found = executable(bare / better)
        assert find_chromium() == found


def test_the_variable_goes_before_all_others(bare, monkeypatch):
    named = executable(bare / "elsewhere" / "chrome")
    executable(bare / "bin" / "chromium")
    monkeypatch.setenv(chromium.CHROMIUM_VARIABLE, str(named))
    assert find_chromium() == named


def test_a_variable_that_names_nothing_is_an_error_and_never_replaced(bare, monkeypatch):
    executable(bare / "bin" / "chromium")
    monkeypatch.setenv(chromium.CHROMIUM_VARIABLE, str(bare / "missing"))
    with pytest.raises(BadInput, match=r"PARITYGATE_CHROMIUM names .*missing"):
        find_chromium()


def test_the_sandbox_is_given_up_only_as_root(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "--no-sandbox" not in launch_flags(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "--no-sandbox" in launch_flags(tmp_path)
    assert f"--user-data-dir={tmp_path}" in launch_flags(tmp_path)


# Browsers that do not work: scripts in Chromium's place.


def test_without_a_chromium_the_error_says_how_to_get_one(bare):
    with BrowserHost() as host, pytest.raises(Broken, match="install Chromium"):
        host.start()


def test_the_host_process_is_found_where_nothing_is_installed(monkeypatch, tmp_path):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    chromium = executable(tmp_path / "chromium", "raise SystemExit('out of order')")
    # -S: without the environment's packages, this project among them; the host needs none of the others.
    script = f"import os, sys; os.execv({sys.executable!r}, [{sys.executable!r}, '-S', *sys.argv[1:]])"
    monkeypatch.setattr(sys, "executable", str(executable(tmp_path / "python", script)))
    with BrowserHost(chromium) as host, pytest.raises(Broken, match="out of order"):
        host.endpoint()


def test_a_browser_that_ends_at_once_is_quoted(tmp_path):
    broken = executable(tmp_path / "chromium", "import sys; sys.exit('error while loading shared libraries: libnss3')")
    with BrowserHost(broken) as host:
        with pytest.raises(Broken, match=r"ended with code 1 and said: error while loading shared libraries: libnss3"):
            host.endpoint()
        assert not host.alive


def test_a_file_that_cannot_be_run_is_an_error_and_no_traceback(tmp_path, capfd):
    foreign = tmp_path / "chromium"
    foreign.write_bytes(b"MZ, a program of another system")
    foreign.chmod(0o755)
    with BrowserHost(foreign) as host, pytest.raises(Broken, match=r"chromium cannot be run: .*Exec format error"):
        host.endpoint()
    assert capfd.readouterr().err == ""


def test_the_host_has_a_process_id_while_it_runs(tmp_path):
    host = BrowserHost(executable(tmp_path / "chromium", "import time; time.sleep(60)"))
    assert host.pid is None
    host.start()
    running = psutil.Process(host.pid)
    until(running.children)
    host.close()
    assert host.pid is None
    assert gone(running)


def test_a_browser_that_never_answers_is_given_up_and_ended(tmp_path):
    note = f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))"
    silent = executable(tmp_path / "chromium", f"import os, pathlib, time; {note}; time.sleep(60)")
    with BrowserHost(silent) as host, pytest.raises(Broken, match="did not answer within 1 s"):
        host.endpoint(seconds=1)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_close_wakes_a_thread_that_waits_for_the_browser(tmp_path):
    host = BrowserHost(executable(tmp_path / "chromium", "import time; time.sleep(60)"))
    raised = []

    def wait():
        try:
            host.endpoint()
        except Broken as error:
            raised.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    until(lambda: host.alive)
    host.close()
    waiter.join(5)
    assert not waiter.is_alive()
    assert raised


def test_a_closed_host_starts_nothing_again():
    host = BrowserHost()
    host.close()
    host.close()
    with pytest.raises(Cancelled):
        host.endpoint()


# The real one.


def test_the_folder_is_in_tmpdir_unless_a_socket_in_it_would_have_too_long_a_path(monkeypatch, tmp_path):
    for parent, home in ((tmp_path / ("x" * 60), Path("/tmp")), (Path("/var/tmp"), Path("/var/tmp"))):  # noqa: S108 - compared
        parent.mkdir(exist_ok=True)
        monkeypatch.setattr("tempfile.tempdir", str(parent))
        folder = _scratch()
        folder.rmdir()
        assert folder.parent == home


@pytest.mark.slow
def test_chromium_writes_nowhere_but_into_its_own_folder(monkeypatch):
    with TemporaryDirectory() as short:
        root = Path(short)
        for variable in ("HOME", "TMPDIR"):
            (root / variable).mkdir()
            monkeypatch.setenv(variable, str(root / variable))
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        with BrowserHost(find_chromium()) as host:
            assert answer(host.endpoint()) == 42
            (folder,) = (root / "TMPDIR").iterdir()
            assert folder.name.startswith(FOLDER_PREFIX)
        assert sorted(root.rglob("*")) == [root / "HOME", root / "TMPDIR"]


class Tree:
    """Every process that a host process has below it, and the folder of its Chromium."""

    def __init__(self, host: psutil.Process):
        self.host = host
        self.below = host.children(recursive=True)
        self.chromium = next(p for p in below(host.pid, "--headless") if p.ppid() == host.pid)
        flag = "--user-data-dir="
        profile = next(a.removeprefix(flag) for a in self.chromium.cmdline() if a.startswith(flag))
        self.folder = Path(profile).parent
        assert self.folder.is_dir()
        assert len(self.below) > 2

    def nothing_left(self):
        return all(map(gone, [self.host, *self.below])) and not self.folder.exists()


@pytest.fixture
def host():
    if find_chromium() is None:
        pytest.fail("these tests need Chromium: run `make setup`")
    with BrowserHost() as started:
        yield started


def tree(host):
    host.endpoint()
    return Tree(psutil.Process(host._process.pid))


def answer(endpoint):
    with open_page(endpoint) as page:
        return page.evaluate("6 * 7")


@pytest.mark.slow
def test_closing_leaves_no_process_and_no_folder(host):
    left = tree(host)
    assert answer(host.endpoint()) == 42
    host.close()
    assert left.nothing_left()


@pytest.mark.slow
def test_a_chromium_that_died_is_started_again_by_the_next_cell(host):
    left = tree(host)
    first = host.endpoint()
    left.chromium.kill()
    second = host.endpoint()
    assert second != first
    assert answer(second) == 42
    assert left.nothing_left()


@pytest.mark.slow
def test_chromium_dies_with_its_host_process_and_the_folder_goes_on_close(host):
    left = tree(host)
    left.host.kill()
    until(lambda: all(map(gone, left.below)))
    host.close()
    assert left.nothing_left()


@pytest.mark.slow
def test_term_ends_the_host_process_cleanly_and_ctrl_c_leaves_the_end_to_the_supervisor(host):
    left = tree(host)
    left.host.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert answer(host.endpoint()) == 42
    assert not gone(left.host)
    left.host.terminate()
    until(left.nothing_left)


@pytest.mark.slow
def test_a_killed_supervisor_takes_everything_with_it():
    script = """
import time
from validators.web.browser import BrowserHost
host = BrowserHost()
host.endpoint()
print(host._process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as supervisor:
        left = Tree(psutil.Process(int(supervisor.stdout.readline())))
        supervisor.kill()
    until(left.nothing_left)


def tabs(endpoint):
    with open_page(endpoint) as page:
        targets = page._command("Target.getTargets")["targetInfos"]
    return sum(target["type"] == "page" for target in targets) - 1


@pytest.mark.slow
def test_a_hung_page_ends_with_its_killed_cell_and_the_browser_serves_the_next_one(host):
    endpoint = host.endpoint()
    script = """
import sys
from validators.web.devtools import open_page
with open_page(sys.argv[1]) as page:
    print("running", flush=True)
    page.evaluate("while (true) {}")
"""
    with subprocess.Popen([sys.executable, "-c", script, endpoint], stdout=subprocess.PIPE, text=True) as cell:
        assert cell.stdout.readline() == "running\n"
        until(lambda: tabs(endpoint) == 1)
        time.sleep(0.5)
        assert cell.poll() is None
        cell.kill()
    assert answer(endpoint) == 42
    until(lambda: tabs(endpoint) == 0)
    assert host.endpoint() == endpoint


@pytest.mark.slow
def test_a_crashed_tab_is_charged_to_its_cell_alone(host):
    with open_page(host.endpoint()) as other:
        with open_page(host.endpoint()) as page, pytest.raises(Broken, match="the tab crashed"):
            page._command("Page.crash")
        assert other.evaluate("1 + 1") == 2
    assert answer(host.endpoint()) == 42


@pytest.mark.slow
def test_a_browser_that_dies_under_a_cell_is_reported_not_waited_for(host):
    left = tree(host)
    with open_page(host.endpoint()) as page:
        threading.Timer(0.3, left.chromium.kill).start()
        with pytest.raises(Broken, match="Chromium went away"):
            page.evaluate("new Promise(() => {})")


@pytest.mark.slow
def test_what_the_page_writes_and_throws_reaches_the_log(host, capfd):
    with open_page(host.endpoint()) as page:
        page.evaluate("console.warn('tensor', 3)")
        page.evaluate("setTimeout(() => { throw new Error('later') }); new Promise(done => setTimeout(done, 50))")
        with pytest.raises(Broken, match=r"^TypeError: x is null$"):
            page.evaluate("Promise.reject(new TypeError('x is null'))")
    out = capfd.readouterr().out
    assert "[page warning] tensor 3" in out
    assert "Error: later" in out
    assert "TypeError: x is null" in out


@pytest.mark.slow
def test_nothing_leaves_the_machine_even_where_no_page_policy_holds(host, capfd):
    with open_page(host.endpoint()) as page:
        with pytest.raises(Broken, match="Failed to fetch"):
            page.evaluate("fetch('http://192.0.2.1/', {mode: 'no-cors'})")  # TEST-NET-1: no such machine anywhere
        heard = ""
        while "Failed to load resource" not in heard:  # the browser's own account follows the script's failure
            page.evaluate("new Promise(done => setTimeout(done, 50))")
            heard += capfd.readouterr().out
    assert "ERR_PROXY_CONNECTION_FAILED" in heard


@pytest.mark.slow
def test_a_page_reaches_its_own_server_and_no_other_on_this_machine(host, tmp_path):
    (tmp_path / "page.html").write_text("<title>cell</title>")
    (tmp_path / "data.json").write_text(json.dumps([1]))
    with socket.create_server(("127.0.0.1", 0)) as stranger, PageServer({"page": tmp_path}) as server:
        stranger.settimeout(0.5)
        with open_page(host.endpoint()) as page:
            page.navigate(server.url("page/page.html"))
            assert page.evaluate("fetch('data.json').then(reply => reply.json())") == [1]
            with pytest.raises(Broken, match="Failed to fetch"):
                page.evaluate(f"fetch('http://127.0.0.1:{stranger.getsockname()[1]}/', {{mode: 'no-cors'}})")
        with pytest.raises(TimeoutError):
            stranger.accept()


@pytest.mark.slow
def test_a_page_that_cannot_be_reached_is_an_error(host):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with open_page(host.endpoint()) as page, pytest.raises(Broken, match="ERR_CONNECTION_REFUSED"):
        page.navigate(f"http://127.0.0.1:{port}/")


def test_an_endpoint_where_nobody_listens_is_an_error():
    with pytest.raises(Broken, match="no browser answers at"), open_page("ws://127.0.0.1:9/devtools"):
        pass
