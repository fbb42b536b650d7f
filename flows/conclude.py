"""The last stage: judge, write the manifest and the reports, and describe the machine that did it.

In: everything the stages produced. Out: a complete release in the staging folder, `release.json` last.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exporters.admission import ModelFacts
from exporters.contract import Artifact
from exporters.registry import EXPORTERS
from exporters.store import digest_tree, sha256_file, versions
from flows.settings import Settings
from validators.contract import Cell, Verdict
from validators.gate import judge
from validators.integrity import record_files
from validators.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    Manifest,
    ModelRecord,
    PolicyRecord,
    SampleSet,
    dump,
)
from validators.registry import RUNTIMES
from validators.report import junit, markdown
from validators.web.session import package_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What the stages of a release produced.

    Attributes:
        facts: of the source model.
        signature, sets: as `validators.reference.run` returned them, as records.
        artifacts, cells: in the registries' order.
        seconds: wall time of each stage.
    """

    facts: ModelFacts
    signature: Any
    sets: tuple[SampleSet, ...]
    artifacts: tuple[Artifact, ...]
    cells: tuple[Cell, ...]
    seconds: Mapping[str, float]


def conclude(release: Path, settings: Settings, results: Results) -> Manifest:
    """Judges the release and writes everything about it.

    Args:
        release: the staging folder with artifacts and evidence.
        settings: what was asked.
        results: what came of it.

    Returns:
        The manifest as written to `release.json`.
    """
    verdict = judge(
        cells=results.cells,
        artifacts=results.artifacts,
        required=settings.required,
        sample_sets=[sample_set.name for sample_set in results.sets],
        outputs=[output.name for output in results.signature.outputs],
        digest_problems=_moved(release, results.artifacts),
    )
    manifest = _manifest(settings, results, verdict)
    (release / "report.md").write_text(markdown.render(manifest), "utf-8")
    (release / "junit.xml").write_bytes(junit.render(manifest))
    manifest = replace(manifest, files=record_files(release))
    (release / MANIFEST).write_bytes(dump(manifest))
    return manifest


def _moved(release: Path, artifacts: Sequence[Artifact]) -> list[str]:
    """Artifacts whose bytes are no longer the ones that were hashed when they were placed."""
    return [
        f"{artifact.path}: the bytes changed while the release was made"
        for artifact in artifacts
        if artifact.status == "exported" and digest_tree(release / artifact.path)[0] != artifact.digest
    ]


def _manifest(settings: Settings, results: Results, verdict: Verdict) -> Manifest:
    facts = results.facts
    return Manifest(
        schema_version=SCHEMA_VERSION,
        paritygate=versions(["paritygate"]).get("paritygate", "unknown"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        platform=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        toolchain=_toolchain(settings.formats),
        model=ModelRecord(
            name=facts.name,
            digest=facts.digest,
            size=facts.size,
            keras_version=facts.keras_version,
            layers=facts.layer_count,
            parameters=facts.parameters,
            signature=results.signature,
            trusted=_trusted(settings),
        ),
        policy=PolicyRecord(
            required=settings.required,
            formats=settings.formats,
            atol=settings.policy.atol,
            rtol=settings.policy.rtol,
            sample_seconds=settings.limits.sample_seconds,
        ),
        samples=results.sets,
        artifacts=results.artifacts,
        cells=results.cells,
        verdict=verdict,
        seconds=results.seconds,
        files=(),
    )


def _toolchain(formats: Sequence[str]) -> Mapping[str, str]:
    packages = [package for row in EXPORTERS if row.format in formats for package in row.toolchain]
    packages += [row.distribution for row in RUNTIMES if row.format in formats]
    installed = versions(sorted({*packages, "numpy"}))
    return {**installed, **(package_versions() if "tfjs" in formats else {})}


def _trusted(settings: Settings) -> tuple[str, ...]:
    lambdas = ("Lambda bytecode",) if settings.trust_lambda else ()
    return (*map(_custom_code, settings.custom_objects), *lambdas)


def _custom_code(name: str) -> str:
    """Which code was trusted: a file with its digest, a module by its name."""
    path = Path(name)
    return f"custom objects: {name}" + (f" (SHA-256 {sha256_file(path)})" if path.is_file() else "")
