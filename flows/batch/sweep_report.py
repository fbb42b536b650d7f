"""Prints the result of `paritygate sweep`: a table of models and formats, and below it each reason once.

In: a `Sweep` and rich's console. Out: lines on the console. A number after a state leads to its reason.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.batch.outcomes import STATES, FormatState, State
from flows.batch.sweep_record import RECORD, Sweep
from validators.report.cell_table import COLOURS, written
from validators.text import counted

_COLOURS: Mapping[str, str] = {**COLOURS, "proven": COLOURS["passed"], "refused": COLOURS["failed"]}
_PARTICULAR = re.compile(r"\([^()]*\)|'[^']*'|`[^`]*`|\S*/\S*|\d+")
"""Parts of a way out that belong to one model: text in brackets, names, paths, numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Groups everything that has the same reason.

    Attributes:
        state, code, way_out: of the first of its members.
        members: path of the model -> formats by sentence.
    """

    state: State
    code: str
    way_out: str
    members: dict[str, dict[str, list[str]]] = field(default_factory=dict)


def grouped(sweep: Sweep) -> tuple[Group, ...]:
    """Groups the reasons of a sweep: the worst first, then those with the most models."""
    groups: dict[tuple[str, ...], Group] = {}
    for record in sweep.records:
        for each in record.states:
            if each.state != "proven":
                group = groups.setdefault(_kind(each), Group(state=each.state, code=each.code, way_out=each.way_out))
                sentences = group.members.setdefault(record.path, {})
                sentences.setdefault(each.reason, []).append(each.format)
    return tuple(sorted(groups.values(), key=lambda g: (STATES.index(g.state), -len(g.members), g.code)))


def _kind(state: FormatState | Group) -> tuple[str, ...]:
    return state.state, state.code, " ".join(_PARTICULAR.sub(" ", state.way_out).split())


def render(sweep: Sweep, console: Console, *, folder: Path) -> None:
    """Prints the table, the reasons and the path of the record.

    Args:
        sweep: the results.
        console: prints them; its width, colours and encoding are respected.
        folder: the sweep's directory.
    """
    groups = grouped(sweep)
    numbers = {_kind(group): number for number, group in enumerate(groups, 1)}
    console.print(_table(sweep, numbers, console))
    for number, group in enumerate(groups, 1):
        console.print()
        for line in _reason(number, group, console):
            console.print(line)
    console.print()
    for line in _sums(sweep):
        console.print(line)
    console.print(Text.assemble(("sweep    ", "dim"), written(str(folder / RECORD), console)), soft_wrap=True)


def _table(sweep: Sweep, numbers: Mapping[tuple[str, ...], int], console: Console) -> Table:
    formats = _formats(sweep)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    for _ in formats:
        table.add_column(no_wrap=True)
    table.add_row(Text("model", "dim"), *(Text(name, "dim") for name in formats))
    for record in sweep.records:
        row = [Text(written(record.path, console))]
        for each in record.states:
            number = numbers.get(_kind(each))
            row.append(Text(f"{each.state}{f' {number}' if number else ''}", style=_COLOURS[each.state]))
        table.add_row(*row)
    return table


def _reason(number: int, group: Group, console: Console) -> list[Text]:
    """Formats a group: its heading, its way out, and its models with their sentences."""
    heading = f"{number} {group.state} ({group.code}): {counted(len(group.members), 'model')}"
    lines = [Text(written(heading, console), style=_COLOURS[group.state])]
    if group.way_out:
        lines.append(Text(f"   {written(group.way_out, console)}", style="dim"))
    for path, sentences in group.members.items():
        for sentence, formats in sentences.items():
            names = "" if group.state == "refused" else f" ({', '.join(formats)})"
            lines.append(Text(f"   {written(f'{path}{names}: {sentence}', console)}"))
    return lines


def _sums(sweep: Sweep) -> list[Text]:
    """Counts the models that are proven in each format and in all formats, and the other states."""
    formats = _formats(sweep)
    everywhere = sum(all(each.state == "proven" for each in record.states) for record in sweep.records)
    released = sum(record.released for record in sweep.records)
    lines = [
        Text.assemble(
            (f"{everywhere} of {counted(len(sweep.records), 'model')}", "bold"),
            f" proven in {'all of ' if len(formats) > 1 else ''}{', '.join(formats)}; {released} released",
        )
    ]
    for index, name in enumerate(formats):
        states = [record.states[index].state for record in sweep.records]
        words = [f"{states.count(state)} {state}" for state in reversed(STATES) if state in states]
        lines.append(Text(f"   {name:<12} {', '.join(words)}"))
    return lines


def _formats(sweep: Sweep) -> Sequence[str]:
    return [each.format for each in sweep.records[0].states] if sweep.records else []
