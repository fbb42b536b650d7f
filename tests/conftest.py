"""Quick tests first: a mistake shows in seconds, before TensorFlow, a browser or a server is started."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
