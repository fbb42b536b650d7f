"""Gives tensors canonical names: one name for each, in every format, sample file and report.

In: the path of each tensor in the model's structure, and the model's own name for it. Out: unique names that match
`[A-Za-z][A-Za-z0-9_]*` and are no keyword, so that every target, file system and programming language accepts them.
"""

import json
import keyword
import re
from collections import Counter
from collections.abc import Iterator, Sequence

TreePath = tuple[str | int, ...]
"""Steps from the root of a structure to one tensor: a str is a dict key, an int a position in a list or tuple."""


_RESERVED = {"self"}
"""TensorFlow turns a signature into a method with keyword arguments, where `self` would collide."""


def canonical(paths_and_names: Sequence[tuple[TreePath, str]]) -> tuple[str, ...]:
    """Names the inputs or the outputs of a model.

    The name is the path's steps joined by `_` where the path holds a dict key, else the tensor's own name. Names that
    occur more than once are numbered in order, passing over numbers that another tensor already has.

    Args:
        paths_and_names: for each tensor its path in the structure and the model's own name for it.

    Returns:
        One name for each tensor, in the same order, all different.
    """
    plain = [_identifier(_joined(path, name)) for path, name in paths_and_names]
    occurrences = Counter(plain)
    taken = set(plain)
    numbered = {name: _numbered(name, taken) for name, count in occurrences.items() if count > 1}
    return tuple(next(numbered[name]) if name in numbered else name for name in plain)


def display_path(path: TreePath) -> str:
    """Writes the path as in Python: `["a"][0]`; empty for a structure that is one tensor."""
    return "".join(f"[{json.dumps(step, ensure_ascii=False)}]" for step in path)


def _joined(path: TreePath, name: str) -> str:
    """Returns the path's steps joined by `_` if one of them is a dict key, else the tensor's own name."""
    return "_".join(map(str, path)) if any(isinstance(step, str) for step in path) else name


def _identifier(name: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9_]", "_", name)
    usable = re.match(r"[A-Za-z]", safe) and not keyword.iskeyword(safe) and safe not in _RESERVED
    return safe if usable else f"t_{safe}"


def _numbered(name: str, taken: set[str]) -> Iterator[str]:
    """Yields `name_0`, `name_1`, ... without those that are taken, and takes what it yields."""
    number = 0
    while True:
        candidate = f"{name}_{number}"
        number += 1
        if candidate not in taken:
            taken.add(candidate)
            yield candidate
