"""Prints a diagnosis for a person."""

from functools import partial
from typing import TYPE_CHECKING

from flows.diagnose.result import Diagnosis

if TYPE_CHECKING:
    from rich.console import Console

_WORDS = {
    "layer": ("FOUND", "bold green"),
    "outputs": ("FOUND", "bold green"),
    "runtime": ("FOUND", "bold green"),
    "agrees": ("AGREES", "bold green"),
    "unknown": ("NOT FOUND", "bold red"),
}


def render(found: Diagnosis, console: "Console") -> None:
    """Prints the verdict, the evidence, the conclusions, and what each setting of the runtime changes."""
    from rich.text import Text

    from validators.report import cell_table

    say = partial(cell_table.say, console)

    console.print(
        Text.assemble(_WORDS[found.verdict], f"  {cell_table.written(found.summary, console)}"), soft_wrap=True
    )
    say(f"{found.cell}: {found.status}{f': {found.message}' if found.message else ''}", "cell         ")
    if found.tensor:
        off = "" if found.distance is None else f", off by {found.distance:.1e} of its scale"
        say(f"{found.tensor}{off}", "tensor       ")
    if found.sample_set:
        say(f"{found.rows} of sample set {found.sample_set}", "rows         ")
    for text in found.confirmed:
        say(text, "confirmed    ")
    for text in found.inferred:
        say(text, "inferred     ")
    for setting in found.switches:
        far = "" if setting.max_abs is None else f", max distance {setting.max_abs:.1e}"
        say(f"{setting.setting}: {setting.status}{far}", "setting      ")
    if found.reproduction:
        say(str(found.reproduction), "reproduction ")
