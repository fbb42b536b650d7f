"""One Prefect server for all tests of the flows, and the command line in this process."""

import signal

import pytest
from prefect_server import served

from flows import cli


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


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A Prefect server of our own on loopback; gives the address of its API."""
    with served(tmp_path_factory.mktemp("prefect-server")) as api:
        yield api
