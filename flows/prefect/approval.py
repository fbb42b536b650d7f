"""Pauses a run whose policy demands an approval: the UI shows the report on a form, and returns a name and a reason.

In: a published release for which nothing but the approval is missing. Out: an attestation with who and why, and the
gate's decision with it.

A run of a deployment is suspended: it frees its worker and its slot. When it is resumed it starts again, and finds its
release by the pause's key. Any other run pauses in its process. (A pause in the process would lose a deployment's
concurrency lease, and Prefect ends a run whose lease is lost after four minutes.) An embedded server cannot be reached
for an answer, and one flow does not stop another that called it: there the release is left awaiting, for `paritygate
approve`.
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


class ApprovalForm(RunInput):
    """Defines the form on which a person decides about the release; name and reason are kept with the release."""

    who: str = Field(title="Who", pattern=r"\S", description="Your name, as the release keeps it.")
    why: str = Field(title="Why", pattern=r"\S", description="Your reason, as the release keeps it.")
    approve: bool = Field(default=True, title="Approve", description="Switched off, the release is rejected.")


def awaited(verdict: Verdict) -> bool:
    """Tells whether only a person's approval is missing."""
    return not verdict.passed and all(reason.code == APPROVAL for reason in verdict.reasons)


def paused_over(release: Path) -> str:
    """Returns the digest of the release for which this same run has paused before; empty when it has not."""
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
        seconds: longest wait; afterwards the release is still awaiting.

    Returns:
        The gate's report after the decision.

    Raises:
        BadInput: the decision cannot be written.
        Broken: the release was replaced meanwhile.
    """
    if flow_run.parent_flow_run_id or not (deployment.id or pauses_here()):
        return gate(release, digest=digest)
    form = ApprovalForm.with_initial_data(description=markdown.render(load(release)))
    try:
        if deployment.id:
            decision = suspend_flow_run(wait_for_input=form, timeout=math.ceil(seconds), key=_key(digest))
        else:
            decision = pause_flow_run(
                wait_for_input=form, timeout=math.ceil(seconds), poll_interval=_POLL_SECONDS, key=_key(digest)
            )
    except FlowPauseTimeout:
        return gate(release, digest=digest)
    act: Act = "approved" if decision.approve else "rejected"
    return approve(release, act=act, who=decision.who, why=decision.why, digest=digest).report


def pauses_here() -> bool:
    """Tells whether this run pauses in its process, because no deployment could start it again."""
    return not (deployment.id or is_embedded() or flow_run.parent_flow_run_id)


def _key(digest: str) -> str:
    return f"approval-{digest}"
