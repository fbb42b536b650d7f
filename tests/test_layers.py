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


MOST_MODULES = 16
"""Modules of one folder beside its `__init__`, so that a reader sees all of them at once."""
CROWDED_ALLOWED = {
    "exporters/lowering/rewrites": "one module for each rewrite, and no rewrite knows another",
    "flows/cli": "one module for each subcommand",
}


def untidy_folders(root: Path) -> list[str]:
    """Lists folders of the layers with too many modules, or whose `__init__` does not say what is in them."""
    found = []
    for folder in sorted({file.parent for layer in LAYERS for file in (root / layer).rglob("*.py")}):
        if "node_modules" in folder.parts:
            continue
        path = folder.relative_to(root).as_posix()
        package = folder / "__init__.py"
        tour = ast.get_docstring(ast.parse(package.read_text("utf-8"))) if package.is_file() else None
        if len(tour or "") <= 60:
            found.append(f"{path}: its __init__ does not say what is in it")
        count = sum(file != package for file in folder.glob("*.py"))
        if count > MOST_MODULES and path not in CROWDED_ALLOWED:
            found.append(f"{path}: {count} modules")
    return found


def test_every_folder_says_what_is_in_it_and_can_be_taken_in_at_once():
    assert untidy_folders(ROOT) == []


def test_an_untidy_folder_is_found(tmp_path):
    tour = f'"""{"Says what is in this folder. " * 3}"""\n'
    for path in ("exporters", "validators", "flows", "flows/told", "flows/crowded"):
        plant(tmp_path, f"{path}/__init__.py", tour)
    plant(tmp_path, "flows/bare/__init__.py", '"""Short."""\n')
    plant(tmp_path, "flows/missing/a.py", "")
    for number in range(MOST_MODULES):
        plant(tmp_path, f"flows/told/a{number}.py", "")
        plant(tmp_path, f"flows/crowded/a{number}.py", "")
    plant(tmp_path, "flows/crowded/b.py", "")
    assert untidy_folders(tmp_path) == [
        "flows/bare: its __init__ does not say what is in it",
        "flows/crowded: 17 modules",
        "flows/missing: its __init__ does not say what is in it",
    ]


@pytest.mark.parametrize("path", CROWDED_ALLOWED)
def test_an_exception_is_still_needed(path):
    assert sum(file.name != "__init__.py" for file in (ROOT / path).glob("*.py")) > MOST_MODULES


QUESTION = re.compile(r"(What|Which|Whether|How|Why|Where|Who)\b")


def questions(root: Path) -> list[str]:
    """Lists docstrings in the layers that open with a question word, where a verb would say what is done."""
    found = []
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for file in sorted(file for layer in LAYERS for file in (root / layer).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            doc = ast.get_docstring(node) if isinstance(node, documented) else None
            if doc and QUESTION.match(doc) and "node_modules" not in file.parts:
                line = getattr(node, "lineno", 1)
                found.append(f"{file.relative_to(root).as_posix()}:{line}: {doc.partition(chr(10))[0]}")
    return found


def test_a_docstring_that_opens_with_a_question_word_is_found(tmp_path):
    plant(tmp_path, "flows/a.py", '"""Whatever runs."""\n\ndef f():\n    """Whether it runs."""\n')
    plant(tmp_path, "flows/b.py", '"""How it runs."""\n\nasync def f():\n    """Says how it runs."""\n')
    assert questions(tmp_path) == ["flows/a.py:3: Whether it runs.", "flows/b.py:1: How it runs."]


def test_no_docstring_opens_with_a_question_word():
    assert questions(ROOT) == []
