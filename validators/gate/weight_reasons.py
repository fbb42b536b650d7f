"""Finds reasons against a release in the stored weights of artifacts, and describes them for the report.

In: artifacts with their `weights` records. Out: reasons and sentences. Pure.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from exporters.contract import Artifact, Precision, WeightDifference, WeightsRecord
from validators.contract import Reason

DIFFER = "weights differ"
UNCHECKED = "weights unchecked"
_MOST_NAMED = 4
_DECLARED: Mapping[Precision, Collection[tuple[str, str]]] = {
    "float32": (),
    "float16 weights": (("rounded", "float16"),),
    "float16": (("rounded", "float16"),),
    "int8 weights": (("quantized", "int8"),),
    "int8": (("quantized", "int8"),),
    "int16x8": (("quantized", "int8"),),  # activations are int16, weights int8
    "int4 weights": (("quantized", "int4"),),
}
"""Differences (kind, stored type) that are no fault in an artifact, because its precision declares them."""


def weight_violations(artifacts: Sequence[Artifact]) -> Iterator[Reason]:
    """Yields reasons to refuse exported artifacts because of the weights that they store, before any of them runs."""
    for artifact in artifacts:
        if artifact.status != "exported":
            continue
        if artifact.weights is None:
            message = "its constants were not compared with the weights of the original"
            yield Reason(code=UNCHECKED, subject=artifact.key, message=message)
        elif found := undeclared(artifact, artifact.weights):
            named = "; ".join(map(sentence, found[:_MOST_NAMED]))
            more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
            yield Reason(code=DIFFER, subject=artifact.key, message=f"{named}{more}")


def undeclared(artifact: Artifact, record: WeightsRecord) -> Sequence[WeightDifference]:
    """Returns the differences of stored weights that the artifact's own precision does not declare."""
    declared = _DECLARED[artifact.precision]
    return [each for each in record.differences if (each.kind, each.into) not in declared]


def sentence(found: WeightDifference) -> str:
    """Describes one difference in words, the layer first."""
    start = f"layer `{found.layer}`: "
    if found.kind == "swapped":
        return f"{start}`{found.tensor}` holds `{found.into}` instead of `{found.weight}`"
    if found.kind in {"rounded", "quantized"}:
        return f"{start}`{found.weight}` is {found.kind} to {found.into} in `{found.tensor}`"
    far = f"{found.ulps} ULP" if found.ulps is not None else "computed with it"
    elements = f"{found.elements} element{'s' * (found.elements != 1)}"
    return f"{start}{elements} of `{found.weight}` changed in `{found.tensor}` ({far}, by {found.max_abs:.3g} at most)"


def summary(record: WeightsRecord) -> str:
    """Describes in words which of the original's weights an artifact stores exactly, folded or differently."""
    parts = [f"{record.exact} of {record.weights} bit by bit"]
    if record.folded:
        parts.append(f"{record.folded} folded, within {record.ulps:g} ULP")
    if record.unmatched:
        parts.append(f"{len(record.unmatched)} not needed or computed away")
    if record.computed:
        parts.append(f"{record.computed} computed constant{'s' * (record.computed != 1)}")
    if record.differences:
        parts.append(f"{len(record.differences)} DIFFER" if len(record.differences) > 1 else "1 DIFFERS")
    return ", ".join(parts)
