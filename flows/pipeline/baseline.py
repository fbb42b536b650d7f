"""The baseline of a release: the last one that went out, read before anything runs, compared when everything has.

In: a release directory that the gate lets out today. Out: the record of every figure beside the baseline's.
"""

from dataclasses import dataclass
from pathlib import Path

from exporters.errors import BadInput
from flows.review.gate import gate
from validators.contract import BaselineRecord
from validators.gate.regressions import compare_releases
from validators.release.manifest import Manifest, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Blessed:
    """A release that went out: its manifest, the SHA-256 of that, and the gate's word for it."""

    manifest: Manifest
    digest: str
    headline: str


def blessed(release: Path) -> Blessed:
    """Reads a baseline.

    Raises:
        BadInput: there is no release, or the gate does not let it out.
    """
    report = gate(release)
    if not report.verdict.passed:
        first = report.verdict.reasons[0]
        raise BadInput(
            f"{release}: this baseline did not go out: {first.code}: {first.subject}: {first.message}",
            next_step="--baseline takes the directory of the last release that `paritygate gate` lets out.",
        )
    return Blessed(manifest=load(release), digest=report.digest, headline=report.headline)


def against(manifest: Manifest, baseline: Blessed) -> BaselineRecord:
    """A release beside its baseline; its files must be recorded already."""
    limits = manifest.policy.baseline
    return BaselineRecord(
        digest=baseline.digest,
        model=baseline.manifest.model.name,
        created=baseline.manifest.created,
        headline=baseline.headline,
        limits=limits,
        comparisons=compare_releases(manifest, baseline.manifest, limits),
    )
