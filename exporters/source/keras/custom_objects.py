"""Finds and registers the user's code: every class and function that a model's file names.

In: an open `StoredModel`, what the user named with `--custom-objects`, and Keras' registry of custom objects. Out: the
registry filled under the names that the file uses, and a `UsedCode` for everything that it asks for. Runs in a worker
process only.
"""

import difflib
import hashlib
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from exporters.contract import UsedCode
from exporters.errors import BadInput
from exporters.source.admission.allow_list import origin
from exporters.source.admission.config import survey
from exporters.source.admission.decision import needed
from exporters.source.facts import CodeNeed
from exporters.source.keras.user_code import defined, imported
from exporters.source.keras_version import Generation
from exporters.source.printable import printable
from exporters.source.readers.stored_model import StoredModel

_OTHERS = ("keras", "tf_keras", "tensorflow")
"""Packages whose classes a user's module imports without meaning them as its own."""
_SHOWN = 12


def provide(source: StoredModel, code: Sequence[str], registry: MutableMapping[str, Any]) -> tuple[UsedCode, ...]:
    """Registers the user's code and returns which of it the file asks for.

    An object that a decorator registered under the name in the file comes first; else the class of that name is taken
    and registered so.

    Args:
        source: the open model.
        code: the user's modules (`package.module`) or Python files.
        registry: Keras' own, by name or `package>name`.

    Returns:
        One record for every class or function that the file names, in its order.

    Raises:
        BadInput: a module cannot be imported, or none defines what Keras will look for.
    """
    modules = {name: imported(name) for name in code}
    generation = source.generation or 3
    for module in modules.values():  # all of it: a layer of theirs may build another one by its name
        theirs = {name: value for name, value in defined(module).items() if not _is_keras_own(name, generation)}
        registry.update(theirs)
    found: dict[tuple[str, str], UsedCode] = {}
    unmet: list[CodeNeed] = []  # all of them are collected, so that one message names everything that is missing
    needs = _needs(source)
    for need in needs:
        place = _find(need, modules, registry)
        if place is None:
            unmet.append(need)
            continue
        name, value = place
        for key in {need.name, need.registered_name} - {""}:
            registry.setdefault(key, value)
        _record(found, need, name, value)
    _refuse(source.path.name, [need for need in unmet if not _left_to_its_owner(need, needs)], modules)
    return tuple(found.values())


def _is_keras_own(name: str, generation: Generation) -> bool:
    """Tells whether Keras has something of this name: a helper of the user called `relu` must not replace it."""
    return any(origin(kind, "", name, generation=generation) == "keras" for kind in ("class", "function"))


def _needs(source: StoredModel) -> list[CodeNeed]:
    if source.config is None:
        return []
    return survey(source.config, generation=source.generation or 3, where=source.where).custom


def _find(need: CodeNeed, modules: Mapping[str, ModuleType], registry: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Finds (the module as the user named it, the object); the first is empty where another of their modules has it."""
    value = registry.get(need.registered_name or need.name)
    plain = need.name.rpartition(">")[2]
    for option, module in modules.items():
        member = vars(module).get(plain)
        if member is not None and (member is value or (value is None and _is_the_users(member))):
            return option, member
    return None if value is None else ("", value)


def _is_the_users(value: Any) -> bool:
    return callable(value) and str(getattr(value, "__module__", "")).partition(".")[0] not in _OTHERS


def _record(found: dict[tuple[str, str], UsedCode], need: CodeNeed, option: str, value: Any) -> None:
    """Adds the need to the record of the object."""
    key = (need.name, need.registered_name)
    layers = found[key].layers if key in found else ()
    found[key] = UsedCode(
        kind=need.kind,
        name=need.registered_name or need.name,
        given=_shown(option),
        module=value.__module__,
        digest=_digest(value),
        layers=tuple(dict.fromkeys((*layers, *filter(None, [need.layer])))),
    )


def _digest(value: Any) -> str:
    """Computes the SHA-256 of the source file that defines the object; empty where it has none."""
    file = getattr(sys.modules.get(value.__module__), "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def _shown(option: str) -> str:
    """Returns a module as it was named, a file without its folders, which do not concern the reader of a release."""
    return Path(option).name if option.endswith(".py") else option


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" and others" if len(names) > _SHOWN else "")


def _left_to_its_owner(need: CodeNeed, needs: Sequence[CodeNeed]) -> bool:
    """Tells whether it stands in the configuration of another object of the user, which then looks it up itself."""
    inside = [f"{other.position}.config".removeprefix(".") for other in needs if other is not need]
    return any(need.position.startswith((f"{outer}.", f"{outer}[")) for outer in inside)


def _refuse(name: str, unmet: Sequence[CodeNeed], modules: Mapping[str, ModuleType]) -> None:
    """Raises BadInput naming what no module defines."""
    if not unmet:
        return
    own = sorted({key for module in modules.values() for key in defined(module)})
    near = difflib.get_close_matches(unmet[0].name, own, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    defines = f"{', '.join(map(_shown, modules))} defines {_first(own) or 'none'}" if modules else "none was given"
    raise BadInput(
        printable(f"{name} needs code that was not given: {needed(unmet)}; {defines}{hint}"),
        next_step="Define it there under that name, or name the module or file that does: "
        "--custom-objects PACKAGE.MODULE_OR_FILE.",
    )
