"""Finds statements of a manifest that its own records, or its evidence, contradict.

In: a release directory and the manifest that was read from it. Out: one sentence for each contradiction.
`validators.release.integrity` checks the digests; a manifest whose every digest matches can still contradict itself.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from exporters.errors import BadInput
from validators.contract import Reason
from validators.gate.regressions import regressions
from validators.gate.verdict import APPROVAL, AWAITING, UNPROVEN
from validators.release.evidence import read_evidence
from validators.release.manifest import Manifest

FALSE_CLAIM = "false claim"
OPEN = {APPROVAL, AWAITING, UNPROVEN}
"""Codes of the reasons that a later attestation can still settle."""


def lasting_reasons(manifest: Manifest) -> Sequence[Reason]:
    """Returns the recorded reasons against the release that no later attestation can settle."""
    return [reason for reason in manifest.verdict.reasons if reason.code not in OPEN]


def contradictions(release: Path, manifest: Manifest) -> Iterator[str]:
    """Yields one sentence for each statement of the manifest that its records or its evidence contradict."""
    verdict, policy = manifest.verdict, manifest.policy
    if verdict.passed is bool(verdict.reasons):
        yield f"verdict.passed is {str(verdict.passed).lower()} over {len(verdict.reasons)} reasons"
    if verdict.required != (*policy.required, *policy.elsewhere):
        yield "verdict.required is not what policy.required and policy.elsewhere demand"
    recorded = {(reason.code, reason.subject) for reason in (*verdict.reasons, *verdict.waived)}
    for reason in regressions(manifest.baseline):
        if (reason.code, reason.subject) not in recorded:
            yield f"{reason.subject}: {reason.message}, and the verdict does not say so"
    for artifact in manifest.artifacts:
        if artifact.source != manifest.model.digest:
            yield f"{artifact.key}: was made from another model, {artifact.source[:12]}"
    yield from _against_evidence(release, manifest)


def _against_evidence(release: Path, manifest: Manifest) -> Iterator[str]:
    """Yields the contradictions between the manifest and the evidence."""
    try:
        evidence = read_evidence(release)
        noise = evidence.noise()
    except BadInput as error:
        yield error.message
        return
    if evidence.sets != manifest.samples or evidence.signature != manifest.model.signature:
        yield "samples or signature differ from what evidence/evidence.json says"
    if noise != manifest.grounds.noise:
        yield "grounds.noise differs from what evidence/noise.json says"
