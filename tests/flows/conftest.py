"""One Prefect server, worker and bucket for all tests of the flows, and the command line in this process."""

import contextlib
import signal
import subprocess
import sys
from contextlib import ExitStack

import bucket as object_store
import psutil
import pytest
from prefect_server import PREFECT, QUICK_TOML, ROOT, ask, environment, run, served

from flows import cli

_SERVING = ExitStack()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Ends server and worker after the last test that asks them: idle, they take a tenth of a core."""
    yield
    if "server" in item.fixturenames and "server" not in getattr(nextitem, "fixturenames", ()):
        _SERVING.close()


@pytest.fixture
def call(capfd):
    """Calls the command line in this process; gives exit code, stdout and stderr."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    yield run
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


@pytest.fixture
def quick(tmp_path):
    """A release.toml of one exporter and one cell."""
    config = tmp_path / "release.toml"
    config.write_text(QUICK_TOML)
    return config


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A Prefect server of our own on loopback; gives the address of its API."""
    yield _SERVING.enter_context(served(tmp_path_factory.mktemp("prefect-server")))
    _SERVING.close()  # also after an interruption


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Prefect's home of every client of the server."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def bucket(tmp_path_factory):
    """A real S3 server on loopback with one bucket; see `bucket.Bucket`."""
    with object_store.served(tmp_path_factory.mktemp("bucket")) as found:
        yield found


@pytest.fixture(scope="session")
def deployed(server, home):
    """The server with everything on it, made twice; gives its deployments by name, and what the second time said."""
    assert run(server, home, sys.executable, "-m", "flows.cli", "server", "deploy").returncode == 0
    ask(f"{server}/work_pools/paritygate", {"concurrency_limit": 3}, method="PATCH")
    again = run(server, home, sys.executable, "-m", "flows.cli", "server", "deploy")
    assert again.returncode == 0, again.stderr
    found = ask(f"{server}/deployments/filter", {"work_pools": {"name": {"any_": ["paritygate"]}}})
    return {deployment["name"]: deployment for deployment in found}, again.stdout


class Worker:
    """A worker of the queue `cpu`, who owns the bucket."""

    def __init__(self, home, settings):
        self._home, self._settings = home, settings
        self.start()

    @property
    def pid(self):
        return self._process.pid

    def start(self):
        command = [PREFECT, "worker", "start", "--pool", "paritygate", "--type", "process", "--work-queue", "cpu"]
        with (self._home / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                list(map(str, command)), cwd=ROOT, env=self._settings, stdout=log, stderr=log
            )

    def die(self):
        """As its machine does: SIGKILL for it and all that it has started."""
        tree = [*psutil.Process(self.pid).children(recursive=True), psutil.Process(self.pid)]
        for process in reversed(tree):  # the worker first: nobody is left to tell the server
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(30)
        psutil.wait_procs(tree, timeout=30)

    def stop(self):
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="session")
def worker(server, deployed, home, bucket):
    """A worker of the deployments' queue `cpu`; see `Worker`."""
    settings = environment(
        PREFECT_API_URL=server, PREFECT_HOME=home, PREFECT_WORKER_QUERY_SECONDS=1, **bucket.environment()
    )
    found = Worker(home, settings)
    _SERVING.callback(found.stop)
    return found
