"""`paritygate inspect`: what a model file declares, without importing any framework.

In: the path of a model and, for weights alone, their architecture. Out: its `ModelFacts`, and the same as a page for a
person.
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

_UNTOLD = "only building it can tell"
_FORMS: Mapping[Form, str] = {
    "archive": "`.keras` archive",
    "h5": "HDF5 file",
    "saved_model": "SavedModel folder",
    "weights": "weights, and an architecture beside them,",
}


def inspect(path: Path, architecture: str | None = None) -> ModelFacts:
    """Examines a model and reads every weight, in a bounded process (about a second for each gigabyte).

    Args:
        path: of the model.
        architecture: see `flows.config.settings.Settings.architecture`.

    Raises:
        Broken: the process that looked at it died.
        BadInput: the file is no sound model, or a weight is not finite. What only a release would refuse
            (missing code, Lambdas, an input shape that nobody says) is no error here; it is part of the facts.
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
        # These imports take as long as the look itself; meanwhile the process is at work.
        import rich.table
        import rich.text  # noqa: F401 - for `render`

        return looking.result().unwrap()


def _absolute(architecture: str) -> str:
    """The same for a process in another folder; a builder is only named."""
    return architecture if is_builder(architecture) else str(Path(architecture).absolute())


def render(facts: ModelFacts, console: "Console") -> None:
    """Prints the facts, ending with whether a release can begin and what it takes."""
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
        *[("Output" if index == 0 else "", name) for index, name in enumerate(facts.output_names or (_UNTOLD,))],
        ("Layers", counted if kinds else _UNTOLD),
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
    """Which kind of file it is, and what reads it."""
    if facts.builder:
        return f"weights; the architecture is what {facts.builder} returns"
    readers = {2: " of Keras 2, read through tf_keras", 3: " of Keras 3", None: " of a Keras that is not read here"}
    return _FORMS[facts.form] + readers[facts.generation]


def _writer(facts: ModelFacts) -> str:
    parts = [f"Keras {facts.keras_version}" if facts.keras_version else "the file does not say"]
    parts += [f"on {facts.backend}"] if facts.backend else []
    return ", ".join([*parts, facts.date_saved] if facts.date_saved else parts)


def _tensors(label: str, specs: tuple[TensorSpec, ...] | None) -> list[tuple[str, str]]:
    if specs is None:
        return [(label, _UNTOLD)]
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
    """Decimal units, as file managers show them."""
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
    return Text("\nA release can begin: the file is sound, every weight is finite, no code is missing.", style="green")
