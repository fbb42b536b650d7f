"""Decides whether a file may reach Keras.

In: the facts, and what the user allows and provides. Out: nothing, or BadInput naming the layer and the option. Pure.
"""

import importlib.util
from collections.abc import Sequence

from exporters.errors import BadInput
from exporters.source.facts import CodeNeed, ModelFacts
from exporters.source.printable import printable

SHAPE_FLAG = "--input-shape image=?,32,32,3"
"""How a user gives the shape of an input."""
_SHOWN = 5


def admit(facts: ModelFacts, *, custom_objects: bool, trust_lambda: bool, input_shapes: bool = False) -> None:
    """Admits a model, or raises the first obstacle.

    Args:
        facts: what `examine` found.
        custom_objects: the user provides code for classes that are not Keras' own.
        trust_lambda: the user allows the bytecode in Lambda layers to run.
        input_shapes: the user gives the shapes of the inputs.

    Raises:
        BadInput: the first obstacle, in the order: written by an unknown Keras, refused whatever is allowed, code
            missing, Lambda not trusted, input shape not known.
    """
    _check_version(facts)
    for refusal in facts.refused:
        place = _place(refusal.layer, refusal.position)
        raise BadInput(printable(f"{facts.name}: {place}: {refusal.message}"), next_step=refusal.next_step)
    if facts.custom and not custom_objects:
        raise BadInput(
            printable(f"{facts.name} needs code that is not Keras' own: {needed(facts.custom)}"),
            next_step=printable(f"Give the code: --custom-objects PACKAGE.MODULE_OR_FILE{_suggestion(facts.custom)}"),
        )
    if facts.lambdas and not trust_lambda:
        found = [
            _place(need.layer, need.position) + (f" (its code names {need.hint})" if need.hint else "")
            for need in facts.lambdas
        ]
        raise BadInput(
            printable(f"{facts.name} holds Python bytecode that would run unchecked, in {_listed(found)}"),
            next_step="If you trust where the file comes from: --trust-lambda. "
            "Better: replace the Lambda by a Keras layer or operation and save again.",
        )
    if facts.shape_missing and not input_shapes:
        if not facts.parameters:
            raise BadInput(
                f"{facts.name}: this {facts.class_name} was saved before it was built: the file has no input shape and "
                "no weights",
                next_step="Give the trained model an Input layer (or call it once) and save it again. If it has no "
                f"weights, give the shape, batch first and ? for a free axis: {SHAPE_FLAG}",
            )
        raise BadInput(
            f"{facts.name}: the input shape of this {facts.class_name} is not stored in the file",
            next_step=f"Give it, batch first and ? for a free axis: {SHAPE_FLAG}. "
            "Or give the model an Input layer (or call it once) and save it again.",
        )


def _check_version(facts: ModelFacts) -> None:
    if facts.generation is None and not facts.builder:
        oldest = "Keras 2.13 and later" if facts.form == "archive" else "Keras 2"
        raise BadInput(
            printable(
                f"{facts.name} says it was written by Keras {facts.keras_version}; files of Keras 3 and of {oldest} "
                "are read"
            ),
            next_step="Load it with that Keras and save it again with a newer one: model.save('model.keras').",
        )


def _place(layer: str, position: str) -> str:
    return f"layer {layer} ({position})" if layer else position or "the model itself"


def needed(needs: Sequence[CodeNeed]) -> str:
    """Lists the code that is needed and where, the first few by name."""
    return _listed([_code(need) for need in needs])


def _code(need: CodeNeed) -> str:
    registered = f", registered as {need.registered_name}" if need.registered_name not in ("", need.name) else ""
    module = f" from {need.module}" if need.module else ""
    what = f"{need.kind} {need.name}{module}{registered}"
    return what if need.kind == "model" else f"{what} at {_place(need.layer, need.position)}"


def _listed(items: list[str]) -> str:
    rest = len(items) - _SHOWN
    return "; ".join(items[:_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _suggestion(needs: tuple[CodeNeed, ...]) -> str:
    modules = sorted({need.module for need in needs if need.module})
    if not modules:
        return " (the file does not say where it was defined)"
    packages = sorted({module.partition(".")[0] for module in modules})
    absent = [name for name in packages if name.isidentifier() and not _is_installed(name)]
    return f" (the file names {', '.join(modules)}{f'; not installed here: {_listed(absent)}' if absent else ''})"


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module that has no spec, as `__main__` may have none
        return True
