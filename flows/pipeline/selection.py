"""Selects the cells of a release that run again, by format, device and runtime.

In: a manifest and names that a person typed. Out: the rows of the registry, and what the policy requires of them; or
`BadInput` with the near match and what is valid. A wrong name is never replaced by a near one.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from exporters.contract import Artifact
from exporters.errors import BadInput
from exporters.formats.registry import formats_of
from validators.contract import Device, Requirement
from validators.release.manifest import Manifest
from validators.runtimes.registry import RUNTIMES, planned
from validators.runtimes.row import RuntimeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Describes what runs again.

    Attributes:
        rows: of the registry, in its order.
        artifacts: of the formats that were named, exported or not.
        required: what the policy demands of these rows.
        narrowed: whether a device or runtimes were named, so that other cells are left to other machines.
    """

    rows: tuple[RuntimeRow, ...]
    artifacts: tuple[Artifact, ...]
    required: tuple[Requirement, ...]
    narrowed: bool


def select(
    manifest: Manifest,
    *,
    formats: Sequence[str] | None = None,
    device: str | None = None,
    runtimes: Sequence[str] | None = None,
) -> Selection:
    """Chooses the runtimes and artifacts.

    Args:
        manifest: of the release, whose policy says what there is to run.
        formats: only these, each a format or `format/variant`; None for all that the release has.
        device: only `cpu` or `gpu`; None for both.
        runtimes: only those with these names; None for all.

    Raises:
        BadInput: the release has nothing of that name, or its policy leaves out every such cell.
    """
    policy = manifest.policy
    keys = [artifact.key for artifact in manifest.artifacts]
    _refuse_unknown("format", formats, list(dict.fromkeys((*formats_of(policy.formats), *keys))))
    _refuse_unknown("device", None if device is None else [device], get_args(Device))
    if device == "gpu" and policy.gpu == "off":
        raise BadInput(
            'the policy of this release says gpu = "off": it has no GPU cell that could be run again',
            next_step='Release the model again with policy.gpu = "any" or "hardware", or verify without --device.',
        )
    named = {row.requirement for row in RUNTIMES if row.name in (runtimes or ())}
    asked = {*policy.required, *policy.elsewhere, *named}
    rows = planned(tuple(formats or policy.formats), gpu=policy.gpu, tf32=policy.tf32, asked=asked)
    rows = tuple(row for row in rows if device in {None, row.device})
    _refuse_unknown("runtime", runtimes, list(dict.fromkeys(row.name for row in rows)), on=device)
    rows = tuple(row for row in rows if runtimes is None or row.name in runtimes)
    narrowed = device is not None or runtimes is not None
    # Cells of `policy.elsewhere` are due only where a device or runtime is named: then this is one of those machines.
    due = (*policy.required, *policy.elsewhere) if narrowed else policy.required
    chosen = {row.requirement for row in rows}
    artifacts = tuple(a for a in manifest.artifacts if not formats or a.key in formats or a.format in formats)
    return Selection(
        rows=rows,
        artifacts=artifacts,
        required=tuple(dict.fromkeys(each for each in due if each.of_format in chosen and _is_selected(each, formats))),
        narrowed=narrowed,
    )


def _is_selected(requirement: Requirement, formats: Sequence[str] | None) -> bool:
    """Returns whether a requirement is due: one of a single variant only where that variant is verified."""
    named = not formats or requirement.format in formats or requirement.artifacts in formats
    return requirement.variant is None or named


def _refuse_unknown(what: str, names: Sequence[str] | None, valid: Sequence[str], *, on: str | None = None) -> None:
    for name in names or ():
        if name not in valid:
            near = difflib.get_close_matches(name, valid, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            where = f" on {on}" if on else ""
            raise BadInput(f"the release has no {what} {name!r}{where}{hint}; valid are {', '.join(valid) or 'none'}")
