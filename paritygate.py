"""The command `paritygate`: checks that the packages it is made of are its own, then runs the command line.

`exporters`, `validators` and `flows` are names that other distributions use too. Where one of those is installed into
the same environment or comes first on `sys.path`, an import would fail somewhere deep; this module says so at once.
"""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("exporters", "validators", "flows")
_OURS = Path(__file__).resolve().parent
_MARK = '__distribution__ = "paritygate"'


def shadowed() -> str | None:
    """Names the first of our packages that is another distribution's; None when all are ours."""
    for name in PACKAGES:
        found = PathFinder.find_spec(name)
        origin = Path(found.origin).resolve() if found and found.origin else None
        if origin is None or origin != _OURS / name / "__init__.py":
            return f"the package `{name}` is taken from {origin or 'nowhere'}, not from paritygate in {_OURS}"
        if _MARK not in origin.read_text("utf-8"):
            return f"another distribution has overwritten paritygate's package `{name}` in {_OURS}"
    return None


def main() -> int:
    """Runs the command line and returns its exit code; 3 when another distribution's package hides one of ours."""
    if problem := shadowed():
        sys.stderr.write(
            f"paritygate: broken: {problem}\n"
            "  Install paritygate in an environment of its own (`uv tool install`, `pipx install`, or a new `python -m "
            "venv`), and unset PYTHONPATH if it names a folder with such a package.\n"
        )
        return 3
    from flows.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
