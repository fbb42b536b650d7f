"""Reads `release.json` files of older schema versions: turns each into the current one, before it is validated.

In: the JSON objects of an older file. Out: the same in the current version; a key that the older version lacks
gets the value that was implied then. A malformed object stays as it is, and validation names the fault afterwards.

Version 4 added the variant of a requirement, the precision of an artifact, and size ratios of single artifacts.
"""

from collections.abc import Iterator
from typing import Any


def upgrade_release_3(release: dict[str, Any]) -> dict[str, Any]:
    """Turns `release.json` of schema version 3 into version 4, in place.

    Raises:
        ValueError: it has a key that version 3 does not know.
    """
    for where, record in _records(release, ("policy", "required"), ("policy", "elsewhere"), ("verdict", "required")):
        _add(record, where, "variant", None)
    for where, record in _records(release, ("artifacts",)):
        _add(record, where, "precision", "float32")  # version 3 knew no other
    for path in (("policy", "baseline"), ("baseline", "limits")):
        limits = _at(release, path)
        if isinstance(limits, dict):
            _add(limits, ".".join(path), "size_ratios", {})
    release["schema_version"] = "4"
    return release


def _records(release: dict[str, Any], *paths: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (path in words, object) for every object of the lists at these paths."""
    for path in paths:
        found = _at(release, path)
        if isinstance(found, list):
            for index, record in enumerate(found):
                if isinstance(record, dict):
                    yield f"{'.'.join(path)}[{index}]", record


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    """Returns what is at a path of keys; None where there is nothing."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _add(record: dict[str, Any], where: str, key: str, value: Any) -> None:
    if key in record:
        msg = f"{where}.{key}: is not a key of schema version 3"
        raise ValueError(msg)
    record[key] = value
