"""Applies waivers: a person waives a cell until a date, and is responsible for it by name.

In: the gate's reasons with the names of the cells they are about, and waivers of the policy or of attestations. Out:
the reasons that remain, and those that are waived today. Pure: the date is an argument.

A waiver ends with its last day. A digest that does not match, a release that proves nothing and an artifact that no
cell proves are not about a single cell, so they cannot be waived.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from validators.contract import Cell, Reason, Requirement, Waiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Holds a reason and every name by which a waiver can refer to its cell; none where it cannot be waived."""

    reason: Reason
    cells: frozenset[str] = frozenset()


def requirement_violation(requirement: Requirement, reason: Reason) -> Violation:
    """Returns the violation of a requirement; the reason's subject is the requirement, a cell or an artifact."""
    variant = reason.subject.partition(" ")[0]
    return Violation(
        reason=reason,
        cells=frozenset(
            {str(requirement), str(requirement.of_format), f"{variant} {requirement.runtime} {requirement.device}"}
        ),
    )


def cell_violation(cell: Cell, reason: Reason) -> Violation:
    """Returns the violation of a cell that failed or whose record contradicts it."""
    return Violation(reason=reason, cells=frozenset({cell.key, f"{cell.format} {cell.runtime} {cell.device}"}))


def subject_violation(reason: Reason) -> Violation:
    """Returns the violation for a reason whose subject is the key of a cell, or a thing that cannot be waived."""
    artifact, _, place = reason.subject.partition(" ")
    return Violation(reason=reason, cells=frozenset({reason.subject, f"{artifact.partition('/')[0]} {place}"}))


def apply_waivers(
    violations: Iterable[Violation], waivers: Sequence[Waiver], *, today: date
) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """Separates the reasons that remain from those that are waived.

    Args:
        violations: in the order of the report.
        waivers: all of them, in force or not.
        today: UTC.

    Returns:
        (reasons that remain, reasons that are waived); the message of either names the waiver, where there is one. A
        reason that two requirements give remains until both are waived.
    """
    standing: dict[Reason, None] = {}
    waived: dict[Reason, None] = {}
    for violation in violations:
        matching = [waiver for waiver in waivers if waiver.cell in violation.cells]
        # Of several waivers for one cell the one that ends last counts.
        last = max(matching, key=lambda waiver: waiver.until, default=None)
        reason = violation.reason
        if last is None:
            standing[reason] = None
        elif today > last.until:
            message = f"{reason.message} (the waiver by {last.by} ended on {last.until})"
            standing[replace(reason, message=message)] = None
        else:
            waived[replace(reason, message=f"until {last.until} by {last.by} ({last.why}): {reason.message}")] = None
    # A cell may be waived under one requirement and not under another: then it is only listed as remaining.
    named = {(reason.code, reason.subject) for reason in standing}
    return tuple(standing), tuple(reason for reason in waived if (reason.code, reason.subject) not in named)
