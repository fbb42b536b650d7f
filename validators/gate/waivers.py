"""Waivers: a person lets a cell stand against no release until a day, and answers for it by name.

In: the gate's reasons with the names of the cells they are about, and waivers of the policy or of attestations. Out:
the reasons that stand, and those that are waived today. Pure: the day is given.

A waiver ends with its day. A digest that does not match, a release that proves nothing and an artifact that no cell
proves are about no single cell: nothing waives them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from validators.contract import Cell, Reason, Requirement, Waiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A reason and every name under which a waiver can speak of its cell; none where nothing can waive it."""

    reason: Reason
    cells: frozenset[str] = frozenset()


def requirement_violation(requirement: Requirement, reason: Reason) -> Violation:
    """Returns that of a requirement that is not met; the reason's subject is the requirement, a cell or an artifact."""
    variant = reason.subject.partition(" ")[0]
    return Violation(
        reason=reason,
        cells=frozenset(
            {str(requirement), str(requirement.of_format), f"{variant} {requirement.runtime} {requirement.device}"}
        ),
    )


def cell_violation(cell: Cell, reason: Reason) -> Violation:
    """Returns that of a cell that failed or is contradicted by its own record."""
    return Violation(reason=reason, cells=frozenset({cell.key, f"{cell.format} {cell.runtime} {cell.device}"}))


def subject_violation(reason: Reason) -> Violation:
    """Returns that of a reason whose subject is a cell, by its key, or something that nothing waives."""
    artifact, _, place = reason.subject.partition(" ")
    return Violation(reason=reason, cells=frozenset({reason.subject, f"{artifact.partition('/')[0]} {place}"}))


def apply_waivers(
    violations: Iterable[Violation], waivers: Sequence[Waiver], *, today: date
) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """Parts what stands from what is waived.

    Args:
        violations: in the order in which they are to be told.
        waivers: all of them, in force or not.
        today: UTC.

    Returns:
        (reasons that stand, reasons that are waived); both say in their message which waiver speaks of them. A reason
        that two requirements give stands until both are waived.
    """
    standing: dict[Reason, None] = {}
    waived: dict[Reason, None] = {}
    for violation in violations:
        mine = [waiver for waiver in waivers if waiver.cell in violation.cells]
        last = max(mine, key=lambda waiver: waiver.until, default=None)
        reason = violation.reason
        if last is None:
            standing[reason] = None
        elif today > last.until:
            message = f"{reason.message} (the waiver by {last.by} ended on {last.until})"
            standing[replace(reason, message=message)] = None
        else:
            waived[replace(reason, message=f"until {last.until} by {last.by} ({last.why}): {reason.message}")] = None
    named = {(reason.code, reason.subject) for reason in standing}
    return tuple(standing), tuple(reason for reason in waived if (reason.code, reason.subject) not in named)
