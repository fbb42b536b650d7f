"""The pause of a run whose policy demands that a person approves: the report on a form, a name and a reason back.

In: a published release that awaits nothing else. Out: an attestation with who and why, and what the gate says with it.

A run of a deployment is suspended: it gives its worker and its slot back, and its resumption starts it anew, which
finds its release by the pause's key. Any other run pauses in its process. (A pause in the process would lose a
deployment's concurrency lease, and Prefect ends a run whose lease is lost after four minutes.) Nobody can answer on an
embedded server, and one flow does not stop another that called it: there the release is left awaiting, for
`paritygate approve`.
"""

import math
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment, flow_run
from pydantic import Field

from flows.prefect.server import is_embedded
from flows.review.decisions import approve
from flows.review.gate import GateReport, gate
from validators.contract import Verdict
from validators.gate.verdict import APPROVAL
from validators.release.attestations import Act
from validators.release.integrity import manifest_digest
from validators.release.manifest import MANIFEST, load
from validators.report import markdown

_POLL_SECONDS = 2


class Decision(RunInput):
    """Who decides about the release, and why; both are kept with it."""

    who: str = Field(title="Who", pattern=r"\S", description="Your name, as the release keeps it.")
    why: str = Field(title="Why", pattern=r"\S", description="Your reason, as the release keeps it.")
    approve: bool = Field(default=True, title="Approve", description="Switched off, the release is rejected.")


def awaited(verdict: Verdict) -> bool:
    """Whether nothing but a person's word is missing."""
    return not verdict.passed and all(reason.code == APPROVAL for reason in verdict.reasons)


def paused_over(release: Path) -> str:
    """The digest of the release over which this very run has paused before; empty when it has not."""
    if not (release / MANIFEST).is_file():
        return ""
    digest = manifest_digest(release)
    with get_client(sync_client=True) as client:
        keys = client.read_flow_run(UUID(flow_run.id)).empirical_policy.pause_keys
    return digest if keys and _key(digest) in keys else ""


def ask(release: Path, digest: str, *, seconds: float) -> GateReport:
    """Pauses the run until a person decides.

    Args:
        release: the release directory.
        digest: SHA-256 of the manifest that the person decides about.
        seconds: how long to wait; afterwards the release is still awaiting.

    Returns:
        What the gate says then.

    Raises:
        BadInput: the decision cannot be written.
        Broken: the release was replaced meanwhile.
    """
    if flow_run.parent_flow_run_id or not (deployment.id or pauses_here()):
        return gate(release, digest=digest)
    form = Decision.with_initial_data(description=markdown.render(load(release)))
    try:
        if deployment.id:
            said = suspend_flow_run(wait_for_input=form, timeout=math.ceil(seconds), key=_key(digest))
        else:
            said = pause_flow_run(
                wait_for_input=form, timeout=math.ceil(seconds), poll_interval=_POLL_SECONDS, key=_key(digest)
            )
    except FlowPauseTimeout:
        return gate(release, digest=digest)
    act: Act = "approved" if said.approve else "rejected"
    return approve(release, act=act, who=said.who, why=said.why, digest=digest).report


def pauses_here() -> bool:
    """Whether this run pauses in its process, because no deployment could start it anew."""
    return not (deployment.id or is_embedded() or flow_run.parent_flow_run_id)


def _key(digest: str) -> str:
    return f"approval-{digest}"
