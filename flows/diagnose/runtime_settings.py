"""The settings of each runtime that a diagnosis changes one at a time."""

from collections.abc import Mapping

from validators.runtimes.registry import RuntimeRow


def switches_of(row: RuntimeRow) -> tuple[tuple[str, Mapping[str, str]], ...]:
    """Each setting's name and the options that change it; none where a runtime has nothing to switch."""
    return tuple(row.settings.items())
