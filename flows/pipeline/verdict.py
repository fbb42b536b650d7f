"""Judges a release and writes its manifest and reports, in the last stage.

In: the results of all other stages. Out: a complete release in the staging folder, `release.json` last.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from exporters.contract import Artifact, Signature, TrustedLambda, UsedCode
from exporters.files.hashing import digest_tree, sha256_file
from exporters.formats.registry import formats_of, rows_of
from exporters.jobs import Attempt
from exporters.source.admission import ModelFacts
from exporters.source.readers.weights_with_architecture import builder_file, is_builder
from exporters.toolchain import versions
from flows.config.settings import Settings
from flows.machine.identity import processor, system, today
from flows.pipeline.baseline import BaselineRelease, compare_with_baseline
from validators.contract import Cell, ComparisonBasis, Requirement, SampleSet, Verdict
from validators.gate.approvals import apply_approvals
from validators.gate.verdict import judge
from validators.release.evidence import withhold
from validators.release.integrity import record_files
from validators.release.manifest import MANIFEST, SCHEMA_VERSION, Manifest, ModelRecord, dump
from validators.report import html, junit, markdown
from validators.runtimes.registry import RUNTIMES
from validators.web.page_session import package_version


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseResults:
    """Holds the results of a release's stages.

    Attributes:
        asked: see `Manifest.asked`.
        facts: of the source model.
        signature, sets, code: see `validators.reference.job.Reference`.
        grounds: facts about the samples from the reference and the noise stage.
        artifacts, cells: in the registries' order.
        seconds: wall time of each stage.
        retried, resumed: see `Manifest`.
        baseline: the release that this one is compared with; None when there is none.
    """

    asked: str
    facts: ModelFacts
    signature: Signature
    sets: tuple[SampleSet, ...]
    grounds: ComparisonBasis
    code: tuple[UsedCode, ...]
    artifacts: tuple[Artifact, ...]
    cells: tuple[Cell, ...]
    seconds: Mapping[str, float]
    retried: tuple[Attempt, ...]
    resumed: tuple[str, ...]
    baseline: BaselineRelease | None


def judge_and_write(release: Path, settings: Settings, results: ReleaseResults) -> Manifest:
    """Judges the release and writes everything about it.

    Args:
        release: the staging folder with artifacts and evidence.
        settings: the release's settings.
        results: the results of its stages.

    Returns:
        The manifest as written to `release.json`.
    """
    manifest = _manifest(settings, results)
    if results.baseline:
        draft = replace(manifest, files=record_files(release))
        manifest = replace(manifest, baseline=compare_with_baseline(draft, results.baseline))
    verdict = judge(manifest, problems=_changed_artifacts(release, results.artifacts), today=today())
    standing = apply_approvals(verdict.reasons, (), demanded=settings.policy.approval).standing
    verdict = replace(verdict, passed=not standing, reasons=standing)
    manifest = replace(manifest, verdict=verdict)
    (release / "report.md").write_text(markdown.render(manifest), "utf-8")
    private = settings.policy.evidence == "digests"
    page = html.render(manifest, worst=None if private else html.worst_samples(release, manifest))
    (release / "report.html").write_text(page, "utf-8")
    (release / "junit.xml").write_bytes(junit.render(manifest))
    if private:
        withhold(release)
    manifest = replace(manifest, files=record_files(release))
    (release / MANIFEST).write_bytes(dump(manifest))
    return manifest


def _changed_artifacts(release: Path, artifacts: Sequence[Artifact]) -> list[str]:
    """Lists artifacts whose bytes changed since they were hashed."""
    return [
        f"{artifact.path}: the bytes changed while the release was made"
        for artifact in artifacts
        if artifact.status == "exported" and digest_tree(release / artifact.path)[0] != artifact.digest
    ]


def _manifest(settings: Settings, results: ReleaseResults) -> Manifest:
    """Builds the manifest without the baseline, the verdict and the files, which come last."""
    facts = results.facts
    return Manifest(
        schema_version=SCHEMA_VERSION,
        paritygate=versions(["paritygate"]).get("paritygate", "unknown"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        platform=system(),
        processor=processor(),
        toolchain=toolchain(settings.formats, asked=settings.demanded),
        model=ModelRecord(
            name=facts.name,
            digest=facts.digest,
            size=facts.size,
            keras_version=facts.keras_version,
            layers=facts.layer_count,
            parameters=facts.parameters,
            signature=results.signature,
            trusted=_trusted(settings),
            custom_objects=results.code,
            lambdas=tuple(
                TrustedLambda(layer=need.layer, position=need.position, names=need.hint) for need in facts.lambdas
            ),
        ),
        asked=results.asked,
        policy=settings.record,
        samples=results.sets,
        grounds=results.grounds,
        artifacts=results.artifacts,
        cells=results.cells,
        baseline=None,
        verdict=Verdict(passed=False, reasons=(), required=()),
        seconds=results.seconds,
        retried=results.retried,
        resumed=results.resumed,
        files=(),
    )


def toolchain(formats: Sequence[str], *, asked: Collection[Requirement] = ()) -> Mapping[str, str]:
    """Lists the versions of all packages that take part in a release of these formats, browser packages included.

    Args:
        formats: what is exported.
        asked: the cells that the policy names; the package of a runtime on request takes part only where it is named.
    """
    packages = [package for row in rows_of(tuple(formats)) for package in row.toolchain]
    named = {requirement.of_format for requirement in asked}
    runtimes = [row for row in RUNTIMES if row.format in formats_of(formats)]
    runtimes = [row for row in runtimes if not row.on_request or row.requirement in named]
    packages += [row.distribution for row in runtimes]
    installed = versions(sorted({*packages, "numpy"}))
    npm = sorted({package for row in runtimes for package in row.npm})
    return {**installed, **{name: version for name in npm if (version := package_version(name))}}


def _trusted(settings: Settings) -> tuple[str, ...]:
    lambdas = ("Lambda bytecode",) if settings.trust_lambda else ()
    architecture = settings.architecture or ""
    functions = {"architecture": architecture if is_builder(architecture) else "", "metric": settings.samples.metric}
    named = (_function(role, name) for role, name in functions.items() if name)
    return (*map(_custom_code, settings.custom_objects), *named, *lambdas)


def _function(role: str, name: str) -> str:
    """Describes the user's function that built or measured the model: a file with its digest, or a module's name."""
    file = builder_file(name)
    if file is None:
        return f"{role}: {name}"
    return f"{role}: {file.name}:{name.rpartition(':')[2]} (SHA-256 {sha256_file(file)})"


def _custom_code(name: str) -> str:
    """Describes trusted code: a file by its own name and digest, a module by its name."""
    path = Path(name)
    return f"custom objects: {path.name} (SHA-256 {sha256_file(path)})" if path.is_file() else f"custom objects: {name}"
