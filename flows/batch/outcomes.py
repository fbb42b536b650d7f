"""Reduces a model's result in one format to one word: the definition behind the sweep's table.

In: a release's manifest, or the error that a release ended with. Out: a `FormatState` for every format. Pure.

The gate decides, as it does over a release; here it judges only one format, with that format's artifacts, cells and
requirements. A format is

* `proven` when the gate has nothing against it. TF.js is also proven when only `wasm` or only `webgl` meets the gate
  instead of the default requirements: a page picks its backend, and a backend that does not run a model gives no wrong
  answer. A cell that failed, in any backend, is still a divergence;
* `failed` when a cell ran and contradicts equality or placement, or no cell proves an artifact, or it misses what the
  policy demands of samples, task and baseline;
* `errored` when an exporter, a runtime or the machine broke, so that nothing is known;
* `unavailable` when a required cell was not run: it needs what this machine lacks, or awaits another's attestation;
* `limited` when the target cannot express the model, by an entry of `exporters.target_limits`;
* `refused` when the file got no release at all, because of admission or of the reference.

Where several apply, the first of `STATES` counts, and its first reason is reported.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, get_args

from exporters.contract import Artifact
from exporters.errors import BadInput, Limited, ParitygateError
from exporters.formats.registry import formats_of
from exporters.source.readers.weights_with_architecture import NO_ARCHITECTURE
from exporters.target_limits import LIMITS
from validators.contract import Cell, Reason, Requirement
from validators.gate.verdict import AWAITING, MISSING, UNPROVEN, judge
from validators.release.manifest import Manifest
from validators.runtimes.registry import ORIGINAL, default_requirements

State = Literal["failed", "errored", "unavailable", "limited", "refused", "proven"]
STATES: tuple[State, ...] = get_args(State)
"""From the worst to `proven`."""

ALTERNATIVES: Mapping[str, tuple[Requirement, ...]] = {
    "tfjs": (
        Requirement(format="tfjs", runtime="tfjs-wasm", device="cpu"),
        Requirement(format="tfjs", runtime="tfjs-webgl", device="gpu"),
    )
}
"""Format -> cells of which one is enough, where the policy demands no others than by default."""

_WAYS_OUT = {limit.id: limit.way_out for limit in LIMITS}
_BY_STATE: Mapping[State, str] = {
    "failed": "report.md in the release names the output, the element and both values.",
    "errored": "evidence/logs in the release has the full log of the job.",
    "unavailable": "`paritygate doctor` shows what runs here and how to get the rest.",
}
_EXPORT = re.compile(r"^export (?:limited|errored): ")
_KIND = re.compile(r"^(python error: \w+|[a-z][a-z ]+)(?=:)")
NEEDS_ARCHITECTURE = "needs architecture"
"""Code of the reason against a file with only weights, for which a sweep has no architecture."""
_BUG = "Please report it: this is a defect of paritygate."


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatState:
    """Reports the state of a model in one format.

    Attributes:
        format: the format.
        state: see the module.
        code: short stable name of the reason, the id of a limit for `limited`; empty when proven.
        reason: one sentence; empty when proven.
        way_out: what the user can do; empty when proven, or where there is nothing to do.
    """

    format: str
    state: State
    code: str = ""
    reason: str = ""
    way_out: str = ""


def states_of(manifest: Manifest) -> tuple[FormatState, ...]:
    """Returns one state for every format of a release, in the policy's order."""
    return tuple(_state(manifest, name) for name in formats_of(manifest.policy.formats))


def states_of_error(error: Exception, formats: Sequence[str]) -> tuple[FormatState, ...]:
    """Returns one state for all formats of a model whose release ended with an error instead of a verdict."""
    state: State = "errored"
    code, reason, way_out = "no verdict", str(error), ""
    if isinstance(error, ParitygateError):
        reason, way_out = error.message, error.next_step
    if isinstance(error, BadInput):
        state, code = "refused", NEEDS_ARCHITECTURE if NO_ARCHITECTURE in reason else "bad input"
    elif isinstance(error, Limited):
        state, code = "limited", error.limit
    elif not isinstance(error, ParitygateError | OSError):
        code, reason, way_out = "bug", f"{type(error).__name__}: {error}", _BUG
    names = formats_of(formats)
    return tuple(FormatState(format=name, state=state, code=code, reason=reason, way_out=way_out) for name in names)


def _state(manifest: Manifest, name: str) -> FormatState:
    default = default_requirements((name,))
    demanded = tuple(each for each in manifest.policy.required if each.format == name) or default
    reasons = _reasons_of_format(manifest, name, demanded)
    enough = ALTERNATIVES.get(name, ()) if demanded == default else ()
    if not reasons or any(not _reasons_of_format(manifest, name, (one,)) for one in enough):
        return FormatState(format=name, state="proven")
    cells = [cell for cell in manifest.cells if cell.format == name]
    artifacts = [artifact for artifact in manifest.artifacts if artifact.format == name]
    states = [_state_of_reason(name, reason, cells, artifacts) for reason in reasons]
    return min(states, key=lambda each: STATES.index(each.state))


def _reasons_of_format(manifest: Manifest, name: str, required: Sequence[Requirement]) -> tuple[Reason, ...]:
    """Returns the gate's reasons against only one format."""
    elsewhere = tuple(requirement for requirement in manifest.policy.elsewhere if requirement.format == name)
    baseline = manifest.baseline and replace(
        manifest.baseline,
        comparisons=tuple(
            each for each in manifest.baseline.comparisons if each.subject.partition("/")[0] in {name, ORIGINAL}
        ),
    )
    format_ = replace(
        manifest,
        cells=tuple(cell for cell in manifest.cells if cell.format == name),
        artifacts=tuple(artifact for artifact in manifest.artifacts if artifact.format == name),
        policy=replace(manifest.policy, required=tuple(required), elsewhere=elsewhere, waivers=()),
        baseline=baseline,
    )
    return judge(format_, today=date.max).reasons


def _state_of_reason(name: str, reason: Reason, cells: Sequence[Cell], artifacts: Sequence[Artifact]) -> FormatState:
    message = _EXPORT.sub("", reason.message)
    state = _kind_of_reason(reason, cells)
    way_out = _BY_STATE.get(state, "")
    code = reason.code
    if state == "limited":
        code = _limit(reason.subject, cells, artifacts)
        way_out = _WAYS_OUT.get(code, "")
        message = message.removeprefix(f"{code}: ").removesuffix(f". {way_out}")
    elif state == "errored" and (kind := _KIND.match(message)):
        code = kind[1]
    return FormatState(format=name, state=state, code=code, reason=f"{reason.subject}: {message}", way_out=way_out)


def _kind_of_reason(reason: Reason, cells: Sequence[Cell]) -> State:
    if reason.broken:
        return "errored"
    if reason.code == "limited":
        return "limited"
    if reason.code in {"unavailable", MISSING, AWAITING}:
        return "unavailable"
    if reason.code == UNPROVEN:  # no cell of the artifact passed or failed; the reason is what prevented them
        statuses = {cell.status for cell in cells if f"{cell.format}/{cell.variant}" == reason.subject}
        for state in ("unavailable", "limited"):
            if state in statuses:
                return state
    return "failed"


def _limit(subject: str, cells: Sequence[Cell], artifacts: Sequence[Artifact]) -> str:
    """Finds the entry of the limits table behind a reason about this cell or artifact."""
    found = [artifact.limit for artifact in artifacts if subject.partition(" ")[0] == artifact.key]
    found += [cell.reason for cell in cells if subject in {cell.key, f"{cell.format}/{cell.variant}"}]
    return next((limit for limit in found if limit in _WAYS_OUT), "limited")
