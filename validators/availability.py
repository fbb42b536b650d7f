"""What this machine can run: for every row of `validators.registry`, yes, or what is missing and how to get it.

In: a row. Out: an empty string, or one sentence that ends in a command. Nothing heavy is imported: a package is looked
up, not loaded.
"""

from importlib.util import find_spec
from pathlib import Path

from validators.registry import RuntimeRow

_PAGE_PACKAGES = Path(__file__).parent / "web" / "page" / "node_modules"


def missing(row: RuntimeRow) -> str:
    """What keeps this machine from running the row; empty when nothing does."""
    if find_spec(row.package) is None:
        return f"the package {row.distribution} is not installed: pip install 'paritygate[{row.extra}]', or make setup"
    return _browser_missing() if row.browser else ""


def _browser_missing() -> str:
    from validators.web.browser import CHROMIUM_HINT, find_chromium

    if find_chromium() is None:
        return f"there is no Chromium: {CHROMIUM_HINT}"
    if not _PAGE_PACKAGES.is_dir():
        return f"the browser packages are not installed: npm ci --prefix {_PAGE_PACKAGES.parent}, or make setup"
    return ""
