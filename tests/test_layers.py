"""exporters <- validators <- flows, and nothing heavy until somebody needs it.

Two independent plans, because each sees what the other cannot: a scan of every import statement (also those inside
functions that no test calls) and a real import of every module where the forbidden packages do not exist. Both are
shown a tree with the violation planted and must find it.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("exporters", "validators", "flows")
FORBIDDEN = {"exporters": {"validators", "flows", "prefect"}, "validators": {"flows", "prefect"}, "flows": set()}
HEAVY = {
    "ai_edge_litert",
    "h5py",
    "keras",
    "onnx",
    "onnxruntime",
    "playwright",
    "prefect",
    "tensorflow",
    "tensorflowjs",
    "tf2onnx",
    "tf_keras",
}
# Module -> the heavy package it may import at its top, with the reason.
HEAVY_ALLOWED = {
    "exporters/jobs/preload_tensorflow.py": {"tensorflow", "keras"},  # imported by the fork server only
    # @flow and @task are decorators; the CLI imports flows.prefect.release only to run it, and with it the others.
    **{
        f"flows/{name}.py": {"prefect"}
        for name in (
            "batch/fleet",
            "batch/loop_in_prefect",
            "batch/nightly",
            "batch/watch",
            "deployment/bootstrap",
            "prefect/approval",
            "prefect/gpu_concurrency",
            "prefect/model_concurrency",
            "prefect/release",
            "prefect/remote_cells",
            "prefect/run_monitor",
            "prefect/submit",
            "prefect/tasks",
            "prefect/validate",
        )
    },
}
JOB = re.compile(r"([a-z_]+)(\.\w+)*:\w+")


def imports(node: ast.AST, *, deferred: bool = False) -> Iterator[tuple[str, int, bool]]:
    """Yields (dotted name, line, deferred) of every import, and of every string that names a job's function.

    Deferred means: not run by importing the module, because it stands in a function or under `if TYPE_CHECKING`.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno, deferred) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0:
            yield child.module, child.lineno, deferred
        elif isinstance(child, ast.Constant) and isinstance(child.value, str) and JOB.fullmatch(child.value):
            yield child.value, child.lineno, True
        else:
            types_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(child, deferred=deferred or function or types_only)


def violations(root: Path) -> list[str]:
    """Lists every import in the layers under `root` that goes upwards, or is heavy at the top of a module."""
    found = []
    for layer in LAYERS:
        for file in sorted((root / layer).rglob("*.py")):
            path = file.relative_to(root).as_posix()
            for name, line, deferred in imports(ast.parse(file.read_text("utf-8"))):
                package = name.partition(".")[0].partition(":")[0]
                if package in FORBIDDEN[layer]:
                    found.append(f"{path}:{line}: {layer} must not know {package}")
                elif ":" in name and package in LAYERS:
                    found.append(f"{path}:{line}: a job is given by reference, not by the string {name}")
                elif not deferred and package in HEAVY - HEAVY_ALLOWED.get(path, set()):
                    found.append(f"{path}:{line}: {package} at the top of a module; import it inside the function")
    return found


IMPORT_ALL = """
import importlib, pkgutil, sys
root, layer, skip, *blocked = sys.argv[1:]
sys.path.insert(0, root)
sys.modules.update(dict.fromkeys(blocked))  # None in sys.modules: importing it raises ModuleNotFoundError
package = importlib.import_module(layer)
names = [module.name for module in pkgutil.walk_packages(package.__path__, layer + ".")]
for name in names:
    if name not in skip.split(","):
        importlib.import_module(name)
print(len(names))
"""


def import_all(root: Path, layer: str) -> subprocess.CompletedProcess:
    """Imports every module of a layer in a fresh interpreter where upper layers and heavy packages do not exist."""
    skip = ",".join(path.removesuffix(".py").replace("/", ".") for path in HEAVY_ALLOWED)
    blocked = sorted(FORBIDDEN[layer] | HEAVY)
    command = [sys.executable, "-I", "-c", IMPORT_ALL, str(root), layer, skip, *blocked]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def plant(root: Path, path: str, source: str) -> None:
    for layer in LAYERS:
        (root / layer).mkdir(exist_ok=True)
        (root / layer / "__init__.py").touch()
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text(source, "utf-8")


def test_no_module_imports_upwards_or_heavily():
    assert violations(ROOT) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_every_module_imports_where_upper_layers_and_heavy_packages_do_not_exist(layer):
    run = import_all(ROOT, layer)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 3


PLANTED = {
    "exporters that know validators": ("exporters/a.py", "import validators.compare.outputs\n"),
    "exporters that know flows inside a function": ("exporters/a.py", "def f():\n    from flows import cli\n"),
    "exporters that name a validator's job": ("exporters/a.py", 'JOB = "validators.cells.job:run"\n'),
    "a job named by a string in its own layer": ("flows/a.py", 'JOB = "exporters.formats.job:export"\n'),
    "validators that know flows": ("validators/a.py", "from flows.cli import main\n"),
    "validators that know Prefect for its types": (
        "validators/a.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import prefect\n",
    ),
    "TensorFlow at the top of a module": ("exporters/a.py", "import tensorflow as tf\n"),
    "Keras in a try at the top": ("validators/a.py", "try:\n    import keras\nexcept ImportError:\n    pass\n"),
    "Playwright in the body of a class": ("flows/a.py", "class A:\n    from playwright import sync_api\n"),
    "Prefect at the top of another flow module": ("flows/cli.py", "import prefect\n"),
}


@pytest.mark.parametrize(("path", "source"), PLANTED.values(), ids=PLANTED)
def test_the_scan_finds_a_planted_violation(tmp_path, path, source):
    plant(tmp_path, path, source)
    (found,) = violations(tmp_path)
    assert found.startswith(f"{path}:")


INNOCENT = {
    "a lower layer": ("validators/a.py", "import exporters.contract\n"),
    "TensorFlow inside a function": ("exporters/a.py", "def f():\n    import tensorflow\n"),
    "Keras for its types only": (
        "exporters/a.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import keras\n",
    ),
    "Prefect where the flow is": ("flows/prefect/release.py", "import prefect\n"),
    "a package whose name begins alike": ("exporters/a.py", "import flowsheet\n"),
}


@pytest.mark.parametrize(("path", "source"), INNOCENT.values(), ids=INNOCENT)
def test_the_scan_leaves_the_innocent_alone(tmp_path, path, source):
    plant(tmp_path, path, source)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "source", "named"),
    [
        ("exporters/a.py", "import importlib\nimportlib.import_module('validators')\n", "validators"),
        ("validators/a.py", "__import__('prefect')\n", "prefect"),
        ("flows/a.py", "import importlib\nimportlib.import_module('tensorflow.keras')\n", "tensorflow"),
    ],
)
def test_the_bare_interpreter_finds_a_planted_violation(tmp_path, path, source, named):
    plant(tmp_path, path, source)
    run = import_all(tmp_path, path.partition("/")[0])
    assert run.returncode != 0
    assert re.search(f"ModuleNotFoundError: .*{named}", run.stderr)


def loaded_heavy(code: str) -> set[str]:
    """Runs `code` in a fresh interpreter and returns the heavy packages it loaded."""
    script = f"{code}\nimport sys\nprint(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return HEAVY & set(run.stdout.split())


def test_the_command_line_starts_without_a_heavy_import():
    assert loaded_heavy("import flows.cli") == set()


def test_a_heavy_import_would_be_seen():
    assert loaded_heavy("import sys, types\nsys.modules['keras'] = types.ModuleType('keras')") == {"keras"}


def test_the_packages_are_those_of_this_repository_wherever_python_is_started(tmp_path):
    script = f"import importlib\nfor name in {LAYERS}:\n    print(importlib.import_module(name).__file__)"
    run = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert run.stdout.split() == [str(ROOT / layer / "__init__.py") for layer in LAYERS]


def arrows(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the layers that it imports, also inside functions."""
    modules = {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file
        for layer in LAYERS
        for file in (root / layer).rglob("*.py")
    }
    found: dict[str, set[str]] = {name: set() for name in modules}
    for name, file in modules.items():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                deeper = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
                found[name] |= deeper or ({node.module} & modules.keys())
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & modules.keys()
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A path that ends where it began; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := visit(other, (*path, name)):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, ()))), [])


def folders(root: Path) -> dict[str, set[str]]:
    """Folder -> the other folders whose modules its modules import; a package's `__init__` belongs to its folder."""

    def folder(module: str) -> str:
        return module if (root / module.replace(".", "/")).is_dir() else module.rpartition(".")[0]

    found: dict[str, set[str]] = {}
    for module, others in arrows(root).items():
        found.setdefault(folder(module), set()).update(map(folder, others))
    return {name: others - {name} for name, others in found.items()}


@pytest.mark.parametrize("graph", [arrows, folders])
def test_no_imports_form_a_circle(graph):
    assert circle(graph(ROOT)) == []


def test_a_circle_of_modules_is_found(tmp_path):
    plant(tmp_path, "exporters/a.py", "def f():\n    from exporters import b\n")
    plant(tmp_path, "exporters/b.py", "from exporters.a import f\n")
    assert circle(arrows(tmp_path)) == ["exporters.a", "exporters.b", "exporters.a"]


def test_a_circle_of_folders_is_found(tmp_path):
    plant(tmp_path, "exporters/one/a.py", "import exporters.two.b\n")
    plant(tmp_path, "exporters/two/b.py", "import exporters.one.c\n")
    plant(tmp_path, "exporters/one/c.py", "")
    assert circle(arrows(tmp_path)) == []
    assert circle(folders(tmp_path)) == ["exporters.one", "exporters.two", "exporters.one"]
