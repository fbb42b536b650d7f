"""Inspects what a model file declares, without importing any framework (`paritygate inspect`).

In: the path of a model and, for weights only, their architecture. Out: its `ModelFacts`, and the same as a page for the
terminal.
"""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from exporters.jobs import Job, Workers
from exporters.source.admission import CodeNeed, ModelFacts, admit
from exporters.source.admission.job import LIMITS, InspectRequest, inspect_model
from exporters.source.facts import Form
from exporters.source.printable import printable
from exporters.source.readers.weights_with_architecture import is_builder

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UNKNOWN = "known only once the model is built"
_FORMS: Mapping[Form, str] = {
    "archive": "`.keras` archive",
    "h5": "HDF5 file",
    "saved_model": "SavedModel folder",
    "weights": "weights with a separate architecture,",
}


def inspect(path: Path, architecture: str | None = None) -> ModelFacts:
    """Examines a model and reads every weight, in a bounded process (about a second for each gigabyte).

    Args:
        path: of the model.
        architecture: see `flows.config.settings.Settings.architecture`.

    Raises:
        Broken: the process that read it died.
        BadInput: the file is no valid model, or a weight is not finite. Obstacles of a release (missing code, Lambdas,
            an unknown input shape) are no errors here; they are part of the facts.
    """
    job = Job(
        name="inspect",
        function=inspect_model,
        request=InspectRequest(path=path.absolute(), architecture=architecture and _absolute(architecture)),
        limits=LIMITS,
    )
    with (
        tempfile.TemporaryDirectory(prefix="paritygate-inspect-") as scratch,
        ThreadPoolExecutor(1) as pool,
        Workers(Path(scratch), Path(scratch)) as workers,
    ):
        looking = pool.submit(workers.run, job)
        # These imports take as long as the job itself, so they run while its process works.
        import rich.table
        import rich.text  # noqa: F401 - for `render`

        return looking.result().unwrap()


def _absolute(architecture: str) -> str:
    """Makes an architecture's path absolute, for a process in another folder; a builder is only a name."""
    return architecture if is_builder(architecture) else str(Path(architecture).absolute())


def render(facts: ModelFacts, console: "Console") -> None:
    """Prints the facts, and at the end whether a release can start or what it still needs."""
    from rich.table import Table
    from rich.text import Text

    page = Table.grid(padding=(0, 2))
    page.add_column(style="bold", no_wrap=True)
    page.add_column(overflow="fold")
    for label, value in _rows(facts):
        page.add_row(label, Text(printable(value)))
    console.print(page)
    console.print(_verdict(facts))


def _rows(facts: ModelFacts) -> list[tuple[str, str]]:
    kinds = sorted(facts.layers.items(), key=lambda item: (-item[1], item[0]))
    counted = f"{facts.layer_count}: " + ", ".join(f"{name} {count}" for name, count in kinds)
    rows = [
        ("Model", f"{facts.name}  ({facts.class_name})"),
        ("Written by", _writer(facts)),
        ("File", _kind(facts)),
        ("SHA-256", facts.digest),
        *_tensors("Input", facts.inputs),
        *[("Output" if index == 0 else "", name) for index, name in enumerate(facts.output_names or (_UNKNOWN,))],
        ("Layers", counted if kinds else _UNKNOWN),
        ("Parameters", f"{facts.parameters:,}  ({_bytes(facts.parameter_bytes)})"),
        ("Size", _size(facts)),
    ]
    rows += [("Needs code", _need(need)) for need in facts.custom]
    rows += [
        ("Lambda", f"{need.layer or need.position}" + (f": its code names {need.hint}" if need.hint else ""))
        for need in facts.lambdas
    ]
    rows += [("Refused", f"{refusal.layer or refusal.position}: {refusal.message}") for refusal in facts.refused]
    rows += [("Training only", f"{need.name} (custom; not needed for inference)") for need in facts.compile_only_custom]
    return rows


def _kind(facts: ModelFacts) -> str:
    """Names the form of the file, and the Keras that reads it."""
    if facts.builder:
        return f"weights; {facts.builder} returns the architecture"
    readers = {2: " of Keras 2, read through tf_keras", 3: " of Keras 3", None: " of a Keras that is not read here"}
    return _FORMS[facts.form] + readers[facts.generation]


def _writer(facts: ModelFacts) -> str:
    parts = [f"Keras {facts.keras_version}" if facts.keras_version else "unknown: the file does not say"]
    parts += [f"on {facts.backend}"] if facts.backend else []
    return ", ".join([*parts, facts.date_saved] if facts.date_saved else parts)


def _tensors(label: str, specs: tuple[TensorSpec, ...] | None) -> list[tuple[str, str]]:
    if specs is None:
        return [(label, _UNKNOWN)]
    texts = [
        f"{spec.name}  {spec.dtype} [{', '.join('?' if n is None else str(n) for n in spec.shape)}]" for spec in specs
    ]
    return [(label if index == 0 else "", text) for index, text in enumerate(texts)]


def _size(facts: ModelFacts) -> str:
    if not facts.has_optimizer_state:
        return f"{_bytes(facts.size)}, without optimizer state: training cannot go on from this file as it was"
    return f"{_bytes(facts.size)}; {_bytes(facts.size - facts.optimizer_bytes)} without the optimizer's state"


def _need(need: CodeNeed) -> str:
    module = f" from {need.module}" if need.module else ""
    return f"{need.kind} {need.name}{module}" + (f", in layer {need.layer}" if need.layer else "")


def _bytes(size: int) -> str:
    """Formats bytes in decimal units, as file managers do."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:  # noqa: PLR2004 - a decimal unit
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def _verdict(facts: ModelFacts) -> "Text":
    from rich.text import Text

    try:
        admit(facts, custom_objects=False, trust_lambda=False)
    except BadInput as error:
        return Text(f"\nA release needs more: {error.message}\n  {error.next_step}", style="yellow")
    return Text("\nA release can start: the file is valid, every weight is finite, no code is missing.", style="green")
