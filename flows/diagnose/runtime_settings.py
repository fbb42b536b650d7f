"""Lists the settings of each runtime that a diagnosis changes one at a time."""

from collections.abc import Mapping

from validators.runtimes.row import RuntimeRow


def runtime_settings(row: RuntimeRow) -> tuple[tuple[str, Mapping[str, str]], ...]:
    """Lists each setting's name with the options that change it; empty for a runtime without settings."""
    return tuple(row.settings.items())
