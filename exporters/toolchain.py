"""Reads the installed versions of the packages that make an artifact."""

from collections.abc import Iterable, Mapping
from importlib import metadata


def versions(packages: Iterable[str]) -> Mapping[str, str]:
    """Returns the installed versions of distribution packages; a package that is absent is left out."""
    installed = {}
    for package in packages:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed
