"""Imports the user's own code: classes and functions that a model needs, and functions that build one.

In: names of modules (`package.module`) or of Python files. Out: what they define, or the model that a function
returns. It runs in a worker process only, and only because the user named it.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from exporters.errors import BadInput
from exporters.source.keras_version import Generation

_FOLDERS: set[Path] = set()
"""Folders of the files that were imported."""


def imported(name: str) -> ModuleType:
    """Imports the module or file that the user named with `--custom-objects`.

    Raises:
        BadInput: it cannot be imported.
    """
    try:
        return import_user_module(name)
    except Exception as error:
        raise BadInput(
            f"--custom-objects {name}: cannot be imported: {type(error).__name__}: {error}",
            next_step="Name a package.module that imports in this environment, or a .py file that is called like no "
            "other module.",
        ) from error


def is_of_keras(layer: Any) -> bool:
    """Tells whether a layer is one of Keras' own, of either generation, and no class of the user."""
    return type(layer).__module__.partition(".")[0] in {"keras", "tf_keras"}


def defined(module: ModuleType) -> dict[str, Any]:
    """Returns every class and function that a module or, for a package, one of its modules defines, by plain name."""
    own = f"{module.__name__}."
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and f"{getattr(value, '__module__', '')}.".startswith(own)
    }


def import_user_module(name: str) -> ModuleType:
    """Imports the module of this name, or the one in a `.py` file."""
    if not name.endswith(".py"):
        sys.path.append(str(Path.cwd()))  # a package in the current folder, which a worker's path does not have
        return importlib.import_module(name)
    path = Path(name).absolute()
    if not path.is_file():
        raise FileNotFoundError(name)
    if there := _already(path):
        return there
    _refuse_another_neighbour(path)
    sys.path.append(str(path.parent))  # for the files in the same folder that it imports
    _FOLDERS.add(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101 - `.py` has a loader
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]  # half of it
        raise
    return module


def _refuse_another_neighbour(path: Path) -> None:
    """Raises ImportError where a module in the file's folder has the name of one that another file has imported.

    The file's own `import` would silently get that other one.
    """
    for module in list(sys.modules.values()):
        there = Path(getattr(module, "__file__", None) or "")
        neighbour = path.parent / there.name
        if there.parent in _FOLDERS and there.parent != path.parent and neighbour.is_file():
            raise ImportError(f"another module is called {there.stem}: {there}; the file's own is {neighbour}")


def _already(path: Path) -> ModuleType | None:
    """Returns the module of a file that was imported before.

    Raises:
        ImportError: another module has its name; one of them would then stand for both.
    """
    try:
        found = importlib.util.find_spec(path.stem)
    except ModuleNotFoundError:  # a dot in the name, and no such package
        return None
    if found is None or found.origin is None:  # a mere folder
        return None
    if Path(found.origin).resolve() != path.resolve():
        raise ImportError(f"another module is called {path.stem}: {found.origin}")
    return sys.modules.get(path.stem)


def built_by(builder: str) -> Any:
    """Calls the user's function and returns the model that it builds.

    Args:
        builder: `PACKAGE.MODULE:FUNCTION` or `FILE.py:FUNCTION`.

    Raises:
        BadInput: there is no such function, it fails, or returns something that is no model of Keras.
    """
    module, _, name = builder.rpartition(":")
    try:
        function = getattr(import_user_module(module), name)
        model = function()
    except Exception as error:
        raise BadInput(
            f"--architecture {builder}: fails: {type(error).__name__}: {error}",
            next_step="Name a function without arguments, PACKAGE.MODULE:FUNCTION or FILE.py:FUNCTION, that returns "
            "the model.",
        ) from error
    if generation_of(model) is None:
        raise BadInput(
            f"--architecture {builder}: returned a {type(model).__name__}; expected a model of keras or tf_keras",
            next_step="Let the function return the model itself, without weights.",
        )
    return model


def generation_of(model: Any) -> Generation | None:
    """Tells which generation of Keras an object is a model of; None for anything else."""
    owners: dict[str, Generation] = {"tf_keras": 2, "keras": 3}
    for base in type(model).__mro__:
        owner = owners.get(base.__module__.partition(".")[0])
        if owner and base.__name__ == "Model":
            return owner
    return None
