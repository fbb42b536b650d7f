"""What this machine can run: for every row of `validators.registry`, yes, or what is missing and how to get it.

In: a row. Out: an empty string, or one sentence that ends in a command. Nothing heavy is imported: a package is looked
up, not loaded.
"""

from importlib.util import find_spec

from validators.registry import RuntimeRow


def remedy(extra: str) -> str:
    """The command that brings one of paritygate's extras.

    pip alone cannot bring the converters: without `pyproject.toml`'s overrides a resolve falls back to a tensorflowjs
    of years ago.
    """
    return "make setup" if extra == "export" else f"pip install 'paritygate[{extra}]', or make setup"


def missing(row: RuntimeRow) -> str:
    """What keeps this machine from running the row; empty when nothing does."""
    if find_spec(row.package) is None:
        return f"the package {row.distribution} is not installed: {remedy(row.extra)}"
    return _browser_missing() if row.browser else ""


def _browser_missing() -> str:
    from validators.web.browser import CHROMIUM_HINT, find_chromium
    from validators.web.session import PACKAGES, PACKAGES_HINT

    if find_chromium() is None:
        return f"there is no Chromium: {CHROMIUM_HINT}"
    if not PACKAGES.is_dir():
        return f"the browser packages are not installed: {PACKAGES_HINT}"
    return ""
