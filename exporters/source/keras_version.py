"""Tells which generation of Keras wrote a file, and which packages read it.

In: the `keras_version` that a file states. Out: its generation, 2 or 3, or None where neither reads it.
"""

from collections.abc import Mapping
from typing import Literal

Generation = Literal[2, 3]
READERS: Mapping[Generation | None, tuple[str, ...]] = {2: ("tf-keras",)}
"""Distribution packages that read files of a generation, in addition to those that every export uses."""
_MOST_DIGITS = 4  # of a version that is one
FIRST_ARCHIVE = 13
"""Keras 2.13 is the first whose archives name their classes as tf_keras has them (`keras.src`)."""


def generation(version: str, *, oldest: int = FIRST_ARCHIVE) -> Generation | None:
    """Returns the generation of Keras that reads files of this version.

    Args:
        version: as the file states it, `2.15.0` or `2.2.4-tf`.
        oldest: minor version of Keras 2 from which on this form can be read.
    """
    major, minor, *_ = [*version.split("."), "", ""]
    if major == "3":
        return 3
    known = major == "2" and (minor or "0").isdecimal() and len(minor) <= _MOST_DIGITS
    return 2 if known and int(minor or "0") >= oldest else None
