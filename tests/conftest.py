"""Quick tests first: a mistake shows in seconds, before TensorFlow, a browser or a server is started."""

import pytest
from hypothesis import settings

# A busy machine is no bug: what a test takes is never asserted.
settings.register_profile("paritygate", deadline=None)
settings.load_profile("paritygate")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Where slow tests export and run models; see `bench.Bench`."""
    from bench import Bench

    with_folder = Bench(tmp_path_factory.mktemp("bench"))
    yield with_folder
    with_folder.close()
