"""Lists the checkpoints of a training run with their metric, and finds those that are completely written.

In: the `filepath` of Keras' `ModelCheckpoint`, or a folder. Out: `Checkpoint`s. The folder is listed twice, so that a
file that is still being written or replaced is noticed. No clock of the storage is trusted: the time between two
listings is measured here, and modification times are compared only with each other.
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
from flows.prefect.storage import opened, storage_errors

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|nan|inf)%?"
_MODELS = (".keras", ".h5")
_WEIGHTS = ".weights.h5"
_TEMPORARY = re.compile(r"^[.~_]|^(?:tmp|temp)(?![a-z])|[._-](?:tmp|temp|part|partial)\b|~$", re.IGNORECASE)
_MARKS = ("size", "mtime", "ino", "ETag", "LastModified", "created")
"""Keys of a driver's file information that change with the file's content."""
_MOST_JSON = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Describes one checkpoint at one moment.

    Attributes:
        path: in its file system.
        mark: of the file and of its JSON file; it differs after any change of either.
        value: of the metric; None when neither the file's name nor the JSON has a finite one.
    """

    path: str
    mark: str
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPattern:
    """Describes where checkpoints are and how their names hold numbers.

    Attributes:
        url: as the user wrote it.
        root: folder, or the file itself, as a URL.
        name: pattern of a path below the root; its groups are the numbers in the name.
    """

    url: str
    root: str
    name: re.Pattern[str]


def parse_checkpoint_pattern(checkpoints: str) -> CheckpointPattern:
    """Parses `FOLDER/{epoch:02d}-{val_loss:.4f}.keras`, `FOLDER/best.keras` or `FOLDER`.

    Raises:
        BadInput: numbers cannot be read back from names that this format string makes.
    """
    if checkpoints.endswith(_WEIGHTS):
        raise _unreadable(checkpoints, "these files hold only weights, and the architecture is not known")
    try:
        parts = list(string.Formatter().parse(checkpoints))
    except ValueError as error:
        raise _unreadable(checkpoints, str(error)) from error
    if all(field is None for _, field, _, _ in parts):
        if checkpoints.endswith(_MODELS):
            folder, _, file = checkpoints.rpartition("/")
            return CheckpointPattern(url=checkpoints, root=folder or ".", name=re.compile(re.escape(file)))
        endings = "|".join(map(re.escape, _MODELS))
        whole = rf"(?!.*{re.escape(_WEIGHTS)}$).*(?:{endings})"
        return CheckpointPattern(url=checkpoints, root=checkpoints.rstrip("/"), name=re.compile(whole))
    root, slash, literal = parts[0][0].rpartition("/")
    parts[0] = (literal, *parts[0][1:])
    return CheckpointPattern(url=checkpoints, root=root if slash else ".", name=_pattern_of_names(checkpoints, parts))


def list_checkpoints(at: CheckpointPattern, metric: str) -> Mapping[str, Checkpoint]:
    """Lists the checkpoints that are there now, by path; temporary names are left out.

    Raises:
        BadInput: the place is not there or may not be read.
        Broken: the storage does not answer.
    """
    files, root = opened(at.root)
    with storage_errors(at.root):
        if not files.exists(root):
            raise FileNotFoundError(f"no folder of that name, as this worker sees it: {root}")
        listed = files.find(root, detail=True)
        found = {}
        for path, info in listed.items():
            below = path[len(root) :].lstrip("/")
            match = at.name.fullmatch(below)
            if match is None or any(map(_TEMPORARY.search, PurePosixPath(below).parts)):
                continue
            json_path = str(PurePosixPath(path).with_suffix(".json"))
            named = match.groupdict().get(metric)
            value = _number(named) if named else _metric_in_json(files, listed, json_path, metric)
            mark = _mark(info) + ("" if named else _mark(listed.get(json_path, {})))
            found[path] = Checkpoint(path=path, mark=mark, value=value)
    return found


def settled_checkpoints(
    at: CheckpointPattern, metric: str, *, seconds: float, wanted: Callable[[Checkpoint], bool]
) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """Returns the wanted checkpoints that did not change between two listings, and those that did.

    Args:
        at: where they are.
        metric: see `Checkpoint.value`.
        seconds: between the listings; there is no second one where the first has no wanted checkpoint.
        wanted: tells whether a checkpoint is wanted.

    Raises:
        BadInput, Broken: as `list_checkpoints`; BadInput also when no checkpoint has the metric.
    """
    before = list_checkpoints(at, metric)
    if not any(map(wanted, before.values())) and not _unmeasured(before):
        return [], []
    time.sleep(seconds)
    now = list_checkpoints(at, metric)
    if _unmeasured(now) and now == before:
        raise BadInput(
            f"{at.url}: none of {len(now)} checkpoints has a finite {metric!r}, neither in its name nor in a JSON "
            "file of the same name",
            next_step="Check `metric`; a name holds the values in braces, such as '{epoch:02d}-{val_loss:.4f}.keras'.",
        )
    found = [each for each in now.values() if wanted(each)]
    return [each for each in found if before.get(each.path) == each], [
        each for each in found if before.get(each.path) != each
    ]


def _unmeasured(found: Mapping[str, Checkpoint]) -> bool:
    return bool(found) and all(each.value is None for each in found.values())


def _pattern_of_names(checkpoints: str, parts: list[tuple[str, str | None, str | None, str | None]]) -> re.Pattern[str]:
    """Returns the regular expression of the names that a format string makes."""
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


def _metric_in_json(files: Any, listed: Mapping[str, Any], path: str, metric: str) -> float | None:
    """Reads the metric from a checkpoint's JSON file."""
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
        next_step="Give the callback's own `filepath`, such as 'runs/{epoch:02d}-{val_loss:.4f}.keras', or the folder.",
    )
