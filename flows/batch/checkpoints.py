"""The checkpoints of a training run: which files they are, what their metric says, and whether they are written.

In: what Keras' `ModelCheckpoint` was given as `filepath`, or a folder. Out: `Checkpoint`s, looked at twice so that a
file which is still being written, or about to be replaced, is seen to be. No clock is believed: the time between two
looks is measured here, and times of modification are compared with each other alone.
"""

import json
import math
import re
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from exporters.errors import BadInput
from flows.prefect.storage import opened, told

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|nan|inf)%?"
_MODELS = (".keras", ".h5")
_WEIGHTS = ".weights.h5"
_TEMPORARY = re.compile(r"^[.~_]|^(?:tmp|temp)(?![a-z])|[._-](?:tmp|temp|part|partial)\b|~$", re.IGNORECASE)
_MARKS = ("size", "mtime", "ino", "ETag", "LastModified", "created")
"""Of what the drivers tell about a file, whatever changes with its content."""
_MOST_JSON = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint at one moment.

    Attributes:
        path: in its file system.
        mark: of the file and the JSON beside it; another one after any change of them.
        value: of the metric; None when neither the file's name nor the JSON says a finite one.
    """

    path: str
    mark: str
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where checkpoints are.

    Attributes:
        url: as it was given.
        root: folder, or the file itself, as a URL.
        name: what a path below the root has to match; its groups are the numbers that the name holds.
    """

    url: str
    root: str
    name: re.Pattern[str]


def place(checkpoints: str) -> Place:
    """Reads `FOLDER/{epoch:02d}-{val_loss:.4f}.keras`, `FOLDER/best.keras` or `FOLDER`.

    Raises:
        BadInput: it is no format string that can be read backwards.
    """
    if checkpoints.endswith(_WEIGHTS):
        raise _unreadable(checkpoints, "these are weights alone, which no look can tell the architecture of")
    try:
        parts = list(string.Formatter().parse(checkpoints))
    except ValueError as error:
        raise _unreadable(checkpoints, str(error)) from error
    if all(field is None for _, field, _, _ in parts):
        if checkpoints.endswith(_MODELS):
            folder, _, file = checkpoints.rpartition("/")
            return Place(url=checkpoints, root=folder or ".", name=re.compile(re.escape(file)))
        endings = "|".join(map(re.escape, _MODELS))
        whole = rf"(?!.*{re.escape(_WEIGHTS)}$).*(?:{endings})"
        return Place(url=checkpoints, root=checkpoints.rstrip("/"), name=re.compile(whole))
    root, slash, literal = parts[0][0].rpartition("/")
    parts[0] = (literal, *parts[0][1:])
    return Place(url=checkpoints, root=root if slash else ".", name=_backwards(checkpoints, parts))


def look(at: Place, metric: str) -> Mapping[str, Checkpoint]:
    """The checkpoints that are there now, by path; temporary names are left out.

    Raises:
        BadInput: the place is not there or may not be read.
        Broken: the storage does not answer.
    """
    files, root = opened(at.root)
    with told(at.root):
        if not files.exists(root):
            raise FileNotFoundError(f"no folder of that name, as this worker sees it: {root}")
        listed = files.find(root, detail=True)
        found = {}
        for path, info in listed.items():
            below = path[len(root) :].lstrip("/")
            match = at.name.fullmatch(below)
            if match is None or any(map(_TEMPORARY.search, PurePosixPath(below).parts)):
                continue
            beside = str(PurePosixPath(path).with_suffix(".json"))
            named = match.groupdict().get(metric)
            value = _number(named) if named else _told_beside(files, listed, beside, metric)
            mark = _mark(info) + ("" if named else _mark(listed.get(beside, {})))
            found[path] = Checkpoint(path=path, mark=mark, value=value)
    return found


def settled(
    at: Place, metric: str, *, seconds: float, wanted: Callable[[Checkpoint], bool]
) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """The wanted checkpoints that have not changed between two looks, and those that have.

    Args:
        at: where.
        metric: see `Checkpoint.value`.
        seconds: between the looks; there is no second one where the first sees nothing that is worth the wait.
        wanted: whether a checkpoint is.

    Raises:
        BadInput, Broken: as `look`; and no checkpoint says the metric.
    """
    before = look(at, metric)
    if not any(map(wanted, before.values())) and not _unmeasured(before):
        return [], []
    time.sleep(seconds)
    now = look(at, metric)
    if _unmeasured(now) and now == before:
        raise BadInput(
            f"{at.url}: none of {len(now)} checkpoints says a finite {metric!r}, neither by its name nor in a JSON of "
            "the same name",
            next_step="Check `metric`; a name holds what stands in braces, such as '{epoch:02d}-{val_loss:.4f}.keras'.",
        )
    found = [each for each in now.values() if wanted(each)]
    return [each for each in found if before.get(each.path) == each], [
        each for each in found if before.get(each.path) != each
    ]


def _unmeasured(found: Mapping[str, Checkpoint]) -> bool:
    return bool(found) and all(each.value is None for each in found.values())


def _backwards(checkpoints: str, parts: list[tuple[str, str | None, str | None, str | None]]) -> re.Pattern[str]:
    """The regular expression of the names that a format string makes."""
    pattern, seen = "", set[str]()
    for number, (literal, field, _, _) in enumerate(parts):
        if number and not literal and field is not None:
            raise _unreadable(checkpoints, f"nothing separates {{{field}}} from the number before it")
        pattern += re.escape(literal)
        if field is None:
            continue
        if not field.isidentifier():
            raise _unreadable(checkpoints, f"{{{field}}} is not the name of a metric")
        pattern += f"(?:{_NUMBER})" if field in seen else f"(?P<{field}>{_NUMBER})"
        seen.add(field)
    return re.compile(pattern)


def _told_beside(files: Any, listed: Mapping[str, Any], path: str, metric: str) -> float | None:
    """The metric in the JSON beside a checkpoint."""
    if path not in listed or listed[path]["size"] > _MOST_JSON:
        return None
    try:
        tree = json.loads(files.cat_file(path))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return None
    value = tree.get(metric) if isinstance(tree, dict) else None
    return _number(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _number(text: str) -> float | None:
    value = float(text.rstrip("%"))
    return value if math.isfinite(value) else None


def _mark(info: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={info[key]}" for key in _MARKS if key in info)


def _unreadable(checkpoints: str, why: str) -> BadInput:
    return BadInput(
        f"{checkpoints}: cannot be read as the `filepath` of a ModelCheckpoint: {why}",
        next_step="Give what the callback was given, such as 'runs/{epoch:02d}-{val_loss:.4f}.keras', or the folder.",
    )
