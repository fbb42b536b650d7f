"""Quick tests first: a mistake shows in seconds, before TensorFlow, a browser or a server is started.

`make test` runs three processes (pytest-xdist, `--dist loadgroup`, in this order). A group never leaves its process:
one server serves all tests that need one, and a model is exported and run once for a whole folder. The longest groups
are the first slow ones: begun last, each would run on alone.
"""

import signal

import pytest
from hypothesis import settings

_PROVE_THE_SAME = {"tests/validators": "tests/contract"}
"""Folder -> the one whose models it looks at, too: one process proves them for both."""
_LONGEST = (
    "bench tests/contract",
    "server",
    "bench tests/exporters",
    "bench tests/flows",
    "bench tests/test_custom_code.py",
    "slow tests/flows/test_postgres.py",
    "slow tests/flows/test_cli.py",
    "slow tests/deployments/test_containers.py",
)

# A busy machine is no bug: what a test takes is never asserted.
settings.register_profile("paritygate", deadline=None)
settings.load_profile("paritygate")

# A shell's background ignores SIGINT, and so would all that is started here: Prefect's workers end by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    groups = {item: _group(item) for item in items}
    items.sort(key=lambda item: (item.get_closest_marker("slow") is not None, _turn(groups[item])))
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))


def _turn(group):
    return _LONGEST.index(group) if group in _LONGEST else len(_LONGEST)


def _group(item):
    """What has to run in one process: one server for all, the bench of a folder, else what is slow in a file."""
    path = item.nodeid.partition("::")[0]
    if item.get_closest_marker("slow"):
        if "server" in item.fixturenames:
            return "server"
        if "bench" in item.fixturenames:
            folder = "/".join(path.split("/")[:2])
            return f"bench {_PROVE_THE_SAME.get(folder, folder)}"
        return f"slow {path}"
    return path


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Where slow tests export and run models; see `bench.Bench`."""
    from bench import Bench

    with_folder = Bench(tmp_path_factory.mktemp("bench"))
    yield with_folder
    with_folder.close()
