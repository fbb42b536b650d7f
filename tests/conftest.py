"""Quick tests first: a mistake shows in seconds, before TensorFlow, a browser or a server is started.

`make test` runs two processes (pytest-xdist, `--dist loadgroup`): what computes on the bench goes to one of them, what
mostly waits for servers and processes runs beside it. A group never leaves its process, so nothing is done twice.
"""

import pytest
from hypothesis import settings

# A busy machine is no bug: what a test takes is never asserted.
settings.register_profile("paritygate", deadline=None)
settings.load_profile("paritygate")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item):
    """What has to run in one process: the bench, one server for all, else a file."""
    if item.get_closest_marker("slow"):
        for fixture in ("bench", "server"):
            if fixture in item.fixturenames:
                return fixture
    return item.nodeid.partition("::")[0]


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Where slow tests export and run models; see `bench.Bench`."""
    from bench import Bench

    with_folder = Bench(tmp_path_factory.mktemp("bench"))
    yield with_folder
    with_folder.close()
