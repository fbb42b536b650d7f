"""Loads the baseline of a release before anything runs, and compares the finished release with it.

In: the directory of the last release, which the gate must pass today. Out: a record with each figure of both.
"""

from dataclasses import dataclass
from pathlib import Path

from exporters.errors import BadInput
from flows.review.gate import gate
from validators.contract import BaselineRecord
from validators.gate.regressions import compare_releases
from validators.release.manifest import Manifest, load


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRelease:
    """Describes the baseline: its manifest, the manifest's SHA-256, and the gate's headline."""

    manifest: Manifest
    digest: str
    headline: str


def load_baseline(release: Path) -> BaselineRelease:
    """Reads a baseline.

    Raises:
        BadInput: there is no release, or the gate does not pass it.
    """
    report = gate(release)
    if not report.verdict.passed:
        first = report.verdict.reasons[0]
        raise BadInput(
            f"{release}: this baseline did not go out: {first.code}: {first.subject}: {first.message}",
            next_step="--baseline takes the directory of the last release that `paritygate gate` passes.",
        )
    return BaselineRelease(manifest=load(release), digest=report.digest, headline=report.headline)


def compare_with_baseline(manifest: Manifest, baseline: BaselineRelease) -> BaselineRecord:
    """Compares a release with its baseline; the release's files must be recorded already."""
    limits = manifest.policy.baseline
    return BaselineRecord(
        digest=baseline.digest,
        model=baseline.manifest.model.name,
        created=baseline.manifest.created,
        headline=baseline.headline,
        limits=limits,
        comparisons=compare_releases(manifest, baseline.manifest, limits),
    )
