"""Reads and writes the evidence of a release: samples and reference outputs, for any machine, without TensorFlow.

In: tensors under canonical names. Out: `evidence/` of a release directory, and back:

    evidence/evidence.json                  the sample sets and the model's signature
    evidence/samples/SET/INPUT.npy          what every cell is fed, all rows of the set
    evidence/reference/SET/OUTPUT.npy       what the original computed from it
    evidence/digests.json                   instead of all tensors, where the samples are private
    evidence/noise.json                     the original's rounding error of each output over each set
    evidence/exact/SET/OUTPUT.npy           float64 answers of integer outputs, where they differ from float32
    evidence/labels/labels.npy              labels of the rows of the set `user`, where there are any

`validators.samples.tensor_files` says how a tensor becomes a file.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydantic

from exporters.contract import Signature, TensorSpec
from exporters.errors import BadInput
from exporters.files.hashing import files_below, sha256_file
from exporters.lowering.rewrites.mixed_precision import Half
from validators.contract import Noise, NoiseBySet, SampleSet, Tensors
from validators.samples.tensor_files import RESTORE, checked_name, read_tensors, write_tensors

EVIDENCE = "evidence"
RECORD = "evidence.json"
DIGESTS = "digests.json"
LOGS = "logs"
NOISE = "noise.json"
EXACT = "exact"
_LABELS = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecord:
    """Holds the content of `evidence/evidence.json`: sets, the model's inputs and outputs, and `Evidence.rounds_to`."""

    sets: tuple[SampleSet, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rounds_to: Mapping[str, Half] = field(default_factory=dict)


_RECORD_TYPE = pydantic.TypeAdapter(EvidenceRecord)
_NOISE_TYPE = pydantic.TypeAdapter(NoiseBySet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Reads the evidence of one release piece by piece: a set's tensors are loaded when they are asked for.

    Attributes:
        release: the release directory.
        sets: the sample sets.
        signature: of the source model.
        rounds_to: output -> `float16` or `bfloat16`, where layers of the original on the way to it compute in that
            type, whatever the type of the output is. The reference then has that type's rounding.
    """

    release: Path
    sets: tuple[SampleSet, ...]
    signature: Signature
    rounds_to: Mapping[str, Half] = field(default_factory=dict)

    def samples(self, sample_set: SampleSet) -> dict[str, np.ndarray]:
        """Returns the inputs of one set: every input of the signature, `rows` rows each.

        Raises:
            BadInput: a file is missing, extra, corrupt, or holds another number of rows.
        """
        folder = samples_folder(self.release, sample_set.name)
        tensors = read_tensors(folder)
        _check_names(folder, tensors, self.signature.inputs)
        for name, array in tensors.items():
            if array.shape[:1] != (sample_set.rows,):
                message = f"{folder}: input `{name}` has shape {list(array.shape)}, valid is {sample_set.rows} rows"
                raise BadInput(message, next_step=RESTORE)
        return tensors

    def reference(self, sample_set: SampleSet) -> dict[str, np.ndarray]:
        """Returns the original's outputs over one set: every output of the signature.

        Raises:
            BadInput: a file is missing, extra or corrupt.
        """
        folder = reference_folder(self.release, sample_set.name)
        tensors = read_tensors(folder)
        _check_names(folder, tensors, self.signature.outputs)
        return tensors

    def exact(self, sample_set: SampleSet) -> dict[str, np.ndarray]:
        """Returns the float64 answers of those integer outputs whose float32 answers differ from them.

        Raises:
            BadInput: a file is corrupt.
        """
        folder = _exact_folder(self.release, sample_set.name)
        return read_tensors(folder) if folder.is_dir() else {}

    def noise(self) -> NoiseBySet:
        """Returns the original's rounding error; empty where `validators.reference.noise_floor` never measured it.

        Raises:
            BadInput: the file is not readable.
        """
        path = self.release / EVIDENCE / NOISE
        try:
            return _NOISE_TYPE.validate_json(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (pydantic.ValidationError, OSError) as error:
            raise BadInput(f"{path}: cannot be read ({error})", next_step=RESTORE) from error

    def labels(self) -> np.ndarray | None:
        """Returns the labels of the rows of the set `user`; None where the user gave none.

        Raises:
            BadInput: the file is corrupt.
        """
        folder = self.release / EVIDENCE / _LABELS
        return read_tensors(folder)[_LABELS] if folder.is_dir() else None


def samples_folder(release: Path, sample_set: str) -> Path:
    """Returns the folder with the inputs of a set."""
    return release / EVIDENCE / "samples" / checked_name(sample_set, f"{release}: sample set")


def reference_folder(release: Path, sample_set: str) -> Path:
    """Returns the folder with the original's outputs over a set."""
    return release / EVIDENCE / "reference" / checked_name(sample_set, f"{release}: sample set")


def _exact_folder(release: Path, sample_set: str) -> Path:
    return release / EVIDENCE / EXACT / checked_name(sample_set, f"{release}: sample set")


def write_exact(release: Path, sample_set: str, answers: Tensors) -> None:
    """Writes the float64 answers of one set; nothing where there are none."""
    if answers:
        write_tensors(_exact_folder(release, sample_set), answers)


def unmeasured(why: str, sets: Iterable[SampleSet], signature: Signature) -> NoiseBySet:
    """Returns the noise of every set and output where none could be measured, with the reason."""
    lacking = Noise(floor=None, scale=0.0, rows=0, why=why)
    return {each.name: {spec.name: lacking for spec in signature.outputs} for each in sets}


def without_floor(noise: NoiseBySet, signature: Signature) -> dict[str, str]:
    """Returns the float and complex outputs that have no noise floor in some set, with the reason."""
    rounding = [spec.name for spec in signature.outputs if "float" in spec.dtype or "complex" in spec.dtype]
    return {name: by[name].why for by in noise.values() for name in rounding if name in by and by[name].why}


def write_noise(release: Path, noise: NoiseBySet) -> None:
    """Writes the noise of every set and output."""
    (release / EVIDENCE / NOISE).write_bytes(_NOISE_TYPE.dump_json(noise, indent=1) + b"\n")


def write_labels(release: Path, labels: np.ndarray) -> None:
    """Writes the labels of the rows of the set `user`.

    Raises:
        BadInput: their type cannot be stored.
    """
    write_tensors(release / EVIDENCE / _LABELS, {_LABELS: labels})


def write_evidence(
    release: Path,
    *,
    signature: Signature,
    sets: Iterable[SampleSet],
    samples: Mapping[str, Tensors],
    rounds_to: Mapping[str, Half] | None = None,
) -> Evidence:
    """Writes the samples and the record; the reference follows from `write_tensors(reference_folder(...), ...)`.

    Args:
        release: the release directory.
        signature: of the source model.
        sets: the sample sets.
        samples: the inputs of each set, by the set's name.
        rounds_to: see `Evidence`.

    Raises:
        BadInput: a name is not safe as a file name, or a type cannot be stored.
        OSError: the directory cannot be written.
    """
    evidence = Evidence(release=release, sets=tuple(sets), signature=signature, rounds_to=rounds_to or {})
    for sample_set in evidence.sets:
        write_tensors(samples_folder(release, sample_set.name), samples[sample_set.name])
    record = EvidenceRecord(
        sets=evidence.sets, inputs=signature.inputs, outputs=signature.outputs, rounds_to=evidence.rounds_to
    )
    (release / EVIDENCE / RECORD).write_bytes(_RECORD_TYPE.dump_json(record, indent=2) + b"\n")
    return evidence


def withhold(release: Path) -> None:
    """Replaces every tensor of the evidence by its digest: samples, references, labels and derived tensors.

    With `evidence/digests.json` (path below `evidence/` -> SHA-256) the owner of the tensors can prove that they match.

    Raises:
        OSError: the directory cannot be written.
    """
    folder = release / EVIDENCE
    digests = {}
    for path in files_below(folder):
        name = path.relative_to(folder)
        if name.parts[0] not in {RECORD, NOISE, LOGS}:
            digests[name.as_posix()] = sha256_file(path)
            path.unlink()
    # In reverse order folders come before their parents, which are then empty too.
    for empty in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(empty.iterdir()):
            empty.rmdir()
    (folder / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", "utf-8")


def read_evidence(release: Path) -> Evidence:
    """Reads the record of a release's evidence.

    Raises:
        BadInput: the record is missing, not readable, or names no sample set.
    """
    path = release / EVIDENCE / RECORD
    try:
        record = _RECORD_TYPE.validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        raise BadInput(f"{path}: {_first_fault(error)}", next_step=RESTORE) from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})", next_step=RESTORE) from error
    if not record.sets:
        raise BadInput(f"{path}: sets: got none, valid is at least one sample set", next_step=RESTORE)
    # The record is not trusted, and these names become folders: none may lead out of the release.
    for sample_set in record.sets:
        checked_name(sample_set.name, f"{path}: sample set")
    signature = Signature(inputs=record.inputs, outputs=record.outputs)
    return Evidence(release=release, sets=record.sets, signature=signature, rounds_to=record.rounds_to)


def _check_names(folder: Path, tensors: Tensors, specs: tuple[TensorSpec, ...]) -> None:
    expected = {spec.name for spec in specs}
    for fault, names in (("missing", expected - set(tensors)), ("not in the signature", set(tensors) - expected)):
        if names:
            raise BadInput(f"{folder}: {', '.join(sorted(names))}: {fault}", next_step=RESTORE)


def _first_fault(error: pydantic.ValidationError) -> str:
    """Returns the first fault with its path, such as `sets[0].rows: Input should be a valid integer`."""
    fault = error.errors(include_url=False)[0]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault["loc"]).lstrip(".")
    return f"{path or 'content'}: {fault['msg']}"
