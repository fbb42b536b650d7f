"""The decision: may this file reach Keras, given what the user allows?

In: the facts and the user's two permissions. Out: nothing, or BadInput naming the layer and the option. Pure.
"""

from exporters.admission.facts import CodeNeed, ModelFacts
from exporters.admission.printable import printable
from exporters.errors import BadInput

_SHOWN = 5


def admit(facts: ModelFacts, *, custom_objects: bool, trust_lambda: bool) -> None:
    """Lets a model pass or says why not.

    Args:
        facts: what `examine` found.
        custom_objects: the user gave code for classes that are not Keras' own.
        trust_lambda: the user allows the bytecode in Lambda layers to run.

    Raises:
        BadInput: the first obstacle, in the order: written by Keras 2, refused whatever is allowed, code missing,
            Lambda not trusted.
    """
    _check_version(facts)
    for refusal in facts.refused:
        place = _place(refusal.layer, refusal.position)
        raise BadInput(printable(f"{facts.name}: {place}: {refusal.message}"), next_step=refusal.next_step)
    if facts.custom and not custom_objects:
        raise BadInput(
            printable(f"{facts.name} needs code that is not Keras' own: {_listed([_code(n) for n in facts.custom])}"),
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


def _check_version(facts: ModelFacts) -> None:
    major = facts.keras_version.split(".")[0]
    if major == "3":
        return
    if major in ("1", "2"):
        raise BadInput(
            printable(f"{facts.name} was written by Keras {facts.keras_version}; files of Keras 2 are not read yet"),
            next_step="Load it with tf_keras (or that Keras), rebuild the model in Keras 3, copy its weights "
            "(set_weights) and save it again.",
        )
    raise BadInput(
        printable(f"{facts.name} says it was written by Keras {facts.keras_version}; files of Keras 3 are read"),
        next_step="Save the model again with Keras 3: model.save('model.keras').",
    )


def _place(layer: str, position: str) -> str:
    return f"layer {layer} ({position})" if layer else position or "the model itself"


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
    return f" (the file names {', '.join(modules)})" if modules else " (the file does not say where it was defined)"
