"""Finds the target of a diagnosis: a cell of a release, its artifact, and the model that the release was made from."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters.contract import Artifact
from exporters.errors import BadInput
from exporters.files.hashing import digest_tree
from exporters.source.readers.detection import digest_of, exists
from validators.release.manifest import Manifest, load_with_digest
from validators.runtimes.availability import missing
from validators.runtimes.registry import ORIGINAL, RUNTIMES
from validators.runtimes.row import RuntimeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoading:
    """Says how to load the model, with the keys of `flows.config.settings.Settings`; None leaves the default.

    Attributes:
        architecture, custom_objects, trust_lambda, input_shapes: as for a release.
    """

    architecture: str | None = None
    custom_objects: Sequence[str] | None = None
    trust_lambda: bool | None = None
    input_shapes: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisTarget:
    """Describes the cell that is diagnosed.

    Attributes:
        release: the release directory, absolute.
        manifest: the release's manifest.
        artifact, row: the artifact, and the runtime that it ran in.
        model: the model's file, with the digest that the manifest names.
    """

    release: Path
    manifest: Manifest
    artifact: Artifact
    row: RuntimeRow
    model: Path

    @property
    def changed(self) -> bool:
        """Tells whether the artifact's files were changed after the release was made."""
        return digest_tree(self.release / self.artifact.path)[0] != self.artifact.digest

    @property
    def cell(self) -> str:
        return f"{self.artifact.key} {self.row.name} {self.row.device}"


def find_target(release: Path, cell: str, model: Path | None, architecture: str | None) -> DiagnosisTarget:
    """Finds the cell, its artifact, its runtime and the model.

    Args:
        release: the release directory.
        cell: `FORMAT/VARIANT RUNTIME DEVICE`.
        model: the model; None to look for its file name next to the release and in the working directory.
        architecture: see `exporters.source.readers.detection.opened`.

    Raises:
        BadInput: there is no such release, cell, artifact, runtime or model.
    """
    manifest, _ = load_with_digest(release)
    artifact, row = _cell(manifest, cell)
    if artifact.status != "exported":
        raise BadInput(
            f"{cell}: there is no artifact to diagnose: its export is {artifact.status}: {artifact.reason}",
            next_step="Remove the cause, then run `paritygate release` again.",
        )
    if lacking := missing(row, gpu=manifest.policy.gpu):
        raise BadInput(f"{cell}: this machine cannot run it: {lacking}", next_step="`paritygate doctor` says more.")
    found = _model(release, manifest, model, architecture or "")
    return DiagnosisTarget(release=release.absolute(), manifest=manifest, artifact=artifact, row=row, model=found)


def _cell(manifest: Manifest, cell: str) -> tuple[Artifact, RuntimeRow]:
    pairs = {
        f"{artifact.key} {row.name} {row.device}": (artifact, row)
        for artifact in manifest.artifacts
        for row in RUNTIMES
        if row.format == artifact.format != ORIGINAL
    }
    if cell in pairs:
        return pairs[cell]
    failed = [each.key for each in manifest.cells if each.status in {"failed", "errored"}]
    near = difflib.get_close_matches(cell, pairs, n=1, cutoff=0.5)
    hints = [f"did you mean {near[0]!r}?"] if near else []
    hints += [f"the failed ones are {', '.join(map(repr, failed))}"] if failed else []
    raise BadInput(
        f"cell {cell!r}: the release has none of that name, valid is 'FORMAT/VARIANT RUNTIME DEVICE'",
        next_step="; ".join(hints) or f"One of: {', '.join(pairs)}",
    )


def _model(release: Path, manifest: Manifest, model: Path | None, architecture: str) -> Path:
    """Finds the model with the manifest's digest."""
    wanted = manifest.model
    command = "paritygate diagnose RELEASE_DIR CELL --model PATH"
    if model is not None:
        if not exists(model):
            raise BadInput(f"{model}: no such file (model)", next_step=f"Check the path; relative to {Path.cwd()}.")
        if (digest := digest_of(model, architecture)) != wanted.digest:
            raise BadInput(
                f"{model}: not the model of this release: its SHA-256 is {digest}, the manifest names {wanted.digest}",
                next_step=f"Name the {wanted.name} that the release was made from: `{command}`",
            )
        return model
    places = dict.fromkeys(folder / wanted.name for folder in (release.absolute().parent, Path.cwd()))
    for place in places:
        if exists(place) and digest_of(place, architecture) == wanted.digest:
            return place
    raise BadInput(
        f"the model {wanted.name} (SHA-256 {wanted.digest}) is not part of the release, and is neither next to it nor "
        "in the working directory",
        next_step=f"`{command}`",
    )
