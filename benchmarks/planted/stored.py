"""Faults in an artifact's bytes: one constant is replaced by other values of the same type and shape.

In: the folder of an artifact and the name of a constant, as the exporter's `constants` gives it. The bytes of the
constant are looked for in the artifact's files and overwritten, whatever the format is.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

Change = Callable[[np.ndarray], np.ndarray]


def overwrite(artifact: Path, array: np.ndarray, change: Change) -> None:
    """Replaces a constant wherever its bytes stand in the artifact's files.

    Args:
        artifact: its folder.
        array: the constant as it is stored.
        change: what the values become; shape and type stay.

    Raises:
        ValueError: no file holds these bytes.
    """
    before = np.ascontiguousarray(array).tobytes()
    after = np.ascontiguousarray(change(np.array(array, order="C"))).astype(array.dtype).tobytes()
    found = False
    for path in sorted(artifact.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if before in content:
            path.write_bytes(content.replace(before, after))
            found = True
    if not found:
        msg = f"no file of {artifact} holds the {len(before)} bytes of this constant"
        raise ValueError(msg)


def by_ulps(ulps: int, at: int = 0) -> Change:
    """One element moves away from zero by units in the last place."""

    def change(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(-1)
        bits = flat.view(f"i{flat.itemsize}")
        bits[at] += ulps
        return array

    return change


def through(dtype: str) -> Change:
    """All elements are rounded to another type and back."""
    return lambda array: array.astype(dtype).astype(array.dtype)
