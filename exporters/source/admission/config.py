"""Surveys a model's configuration for the classes, functions, bytecode and files it asks for, without building it.

In: the parsed configuration. Out: a `ConfigFacts`. Every dictionary with a `class_name` counts as an object that Keras
would build, wherever it stands (keras/src/saving/serialization_lib.py, `deserialize_keras_object`). The part that
compiles a model is excepted, since it never reaches Keras (`exporters.source.keras.model.without_training`).
"""

import base64
import binascii
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from exporters.errors import BadInput
from exporters.source.admission.allow_list import PLAIN_DATA, REFUSED, is_activation, is_operation, origin
from exporters.source.facts import CodeKind, CodeNeed, LambdaNeed, Refusal
from exporters.source.keras_version import Generation

FILE_KEYS = ("vocabulary", "vocabulary_file", "idf_weights", "filepath", "file_path", "filename")
"""Arguments of Keras' own layers that name a file when they are text."""
_ACTIVATIONS = ("activation", "recurrent_activation")
_OPERATION_LAYERS = ("TFOpLambda", "SlicingOpLambda")
"""Layers of Keras 2 that call a function of TensorFlow by its name."""
_OLDER_DATA = ("__tuple__", "__ellipsis__", "TensorShape")
_HINT_NAMES = 12
_MARSHAL_SHORT_STRING = re.compile(rb"[zZ\xda\xfa](.)", re.DOTALL)

Position = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFacts:
    """Needs of a configuration; the fields are those of `ModelFacts`."""

    layers: Counter[str] = field(default_factory=Counter)
    custom: list[CodeNeed] = field(default_factory=list)
    lambdas: list[LambdaNeed] = field(default_factory=list)
    compile_only: list[CodeNeed] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """Names one object of the configuration and its position.

    Attributes:
        node: the object.
        position: keys and indices that lead to it.
        layer: the path of layer names down to it.
        generation: of the Keras that reads it.
        compile_only: whether only training needs it.
        text_of: the text it stands in, for messages.
    """

    node: dict[str, Any]
    position: Position
    layer: str
    generation: Generation
    compile_only: bool
    text_of: str

    @property
    def where(self) -> str:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.position)
        return "".join(steps).removeprefix(".")

    @property
    def is_layer(self) -> bool:
        return len(self.position) > 1 and self.position[-2] == "layers" and isinstance(self.position[-1], int)

    @property
    def config(self) -> dict[str, Any]:
        config = self.node.get("config")
        return config if isinstance(config, dict) else {}

    def text(self, key: str) -> str:
        value = self.node.get(key)
        return value if isinstance(value, str) else ""


def survey(
    config: dict[str, Any],
    *,
    generation: Generation = 3,
    where: str = "config.json",
    training: dict[str, Any] | None = None,
) -> ConfigFacts:
    """Walks a configuration.

    Args:
        config: parsed.
        generation: of the Keras that reads it.
        where: the text it stands in, for messages.
        training: the configuration that compiled the model, where it is stored separately.

    Raises:
        BadInput: the configuration is no model's, or an object in it is not of the shape Keras writes.
    """
    if not isinstance(config.get("class_name"), str) or not isinstance(config.get("config"), dict):
        raise BadInput(
            f"{where} describes no model: it has no class_name with a config",
            next_step="Save the model again with Keras 3: model.save('model.keras').",
        )
    walker = _Walker(generation, where)
    walker.walk(config, (), "", compile_only=False)
    walker.walk(training or {}, ("training_config",), "", compile_only=True)
    return walker.facts


class _Walker:
    """Judges every object of a configuration and collects its findings in `facts`."""

    def __init__(self, generation: Generation, where: str) -> None:
        self.facts = ConfigFacts()
        self._generation: Generation = generation
        self._where = where

    def walk(self, node: Any, position: Position, layer: str, *, compile_only: bool) -> None:
        """Judges a dict or list and everything below it."""
        is_object = isinstance(node, dict) and "class_name" in node
        if is_object:
            here = _Object(
                node=node,
                position=position,
                layer=layer,
                generation=self._generation,
                compile_only=compile_only,
                text_of=self._where,
            )
            layer = _layer_name(here)
            _judge(replace(here, layer=layer), self.facts)
        for step, child in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(child, dict | list):
                training = compile_only or (is_object and step == "compile_config")
                self.walk(child, (*position, step), layer, compile_only=training)


def _layer_name(here: _Object) -> str:
    """Returns the path of layer names, `encoder/dense_1`, down to the object."""
    if not here.is_layer:
        return here.layer
    name = here.config.get("name", here.node.get("name"))
    layer_name = name if isinstance(name, str) else here.text("class_name")
    return f"{here.layer}/{layer_name}" if here.layer else layer_name


def _judge(here: _Object, facts: ConfigFacts) -> None:
    """Records what one object asks for."""
    class_name = here.node["class_name"]
    if not isinstance(class_name, str):
        raise BadInput(f"{here.text_of}: the class_name at {here.where} is {class_name!r}; expected text")
    if here.is_layer:
        facts.layers[class_name] += 1
    if class_name in PLAIN_DATA[here.generation] or _is_older_data(here.node):
        return
    if class_name == "__lambda__":
        _add_lambda(here, here.node.get("config"), facts)
    elif class_name == "function":
        _judge_function(here, facts)
    else:
        _judge_class(here, class_name, facts)


def _is_older_data(node: dict[str, Any]) -> bool:
    """Recognises a tuple or shape of the older JSON writers; with a module or a config it would be an object."""
    return node["class_name"] in _OLDER_DATA and set(node) <= {"class_name", "items"}


def _judge_function(here: _Object, facts: ConfigFacts) -> None:
    name = here.node.get("config")
    if not isinstance(name, str):
        raise BadInput(f"{here.text_of}: the function at {here.where} has no name")
    registered = here.text("registered_name")
    if here.generation == 2 and registered not in ("", "function", name):  # noqa: PLR2004 - Keras 2 looks this one up
        _add_code(here, "function", registered, facts)
    _judge_name(here, "function", name, facts)


def _judge_class(here: _Object, class_name: str, facts: ConfigFacts) -> None:
    if here.compile_only:  # HDF5 files name Keras' own optimizers so
        class_name = class_name.removeprefix("Custom>")
    module = here.node.get("module", "")
    claims_keras = not module or str(module).split(".")[0] in {"keras", "tf_keras"}
    if class_name in REFUSED and claims_keras:
        _refuse(here, f"{class_name} {REFUSED[class_name]}", facts)
        return
    if class_name == "__typespec__":
        _refuse(here, "a type specification makes Keras 2 import the module that it names", facts)
        return
    registered = here.text("registered_name")
    if registered not in ("", class_name):
        _add_code(here, _kind(here), class_name, facts)
        return
    if _judge_name(here, "class", class_name, facts):
        _check_arguments(here, class_name, facts)


def _refuse(here: _Object, message: str, facts: ConfigFacts, below: str = "") -> None:
    if not here.compile_only:
        facts.refused.append(
            Refusal(
                layer=here.layer,
                position=here.where + below,
                message=message,
                next_step="Rebuild this part with Keras layers and save the model again.",
            )
        )


def _judge_name(here: _Object, kind: str, name: str, facts: ConfigFacts) -> bool:
    """Records what the name needs; returns True when it belongs to Keras."""
    module = here.node.get("module", "")
    if module is not None and not isinstance(module, str):
        raise BadInput(f"{here.text_of}: the module at {here.where} is {module!r}; expected text")
    owner = origin("function" if kind == "function" else "class", module, name, generation=here.generation)
    if owner == "custom" or (owner == "spoofed" and here.compile_only):
        _add_code(here, _kind(here), name, facts)
    elif owner == "spoofed":
        facts.refused.append(
            Refusal(
                layer=here.layer,
                position=here.where,
                message=f"{kind} {name!r} claims to be Keras' own (module {module}); the supported Keras has none",
                next_step="If it is yours, move it to a module of your own and save the model again; "
                "if a newer or older Keras had it, replace it there.",
            )
        )
    return owner == "keras"


def _check_arguments(here: _Object, class_name: str, facts: ConfigFacts) -> None:
    """Checks arguments that are plain text: files to read, functions to look up, bytecode in the old style."""
    if here.compile_only:
        return
    for key in FILE_KEYS:
        if isinstance(value := here.config.get(key), str) and value:
            facts.refused.append(
                Refusal(
                    layer=here.layer,
                    position=f"{here.where}.config.{key}",
                    message=f"{class_name} reads its {key} from the file {value!r}, which is no part of the model",
                    next_step="Give the layer the words themselves (a list) and save the model again.",
                )
            )
    for key in _ACTIVATIONS:
        if isinstance(value := here.config.get(key), str) and not is_activation(value, generation=here.generation):
            _add_code(here, "function", value, facts, below=f".config.{key}")
    if class_name in _OPERATION_LAYERS:
        _check_operation(here, class_name, facts)
    if class_name == "Lambda":
        _check_lambda(here, facts)


def _check_operation(here: _Object, class_name: str, facts: ConfigFacts) -> None:
    function = here.config.get("function")
    if not (isinstance(function, str) and is_operation(function)):
        message = f"{class_name} calls tf.{function}, which is not among the functions that only compute on tensors"
        _refuse(here, message, facts, below=".config.function")


def _check_lambda(here: _Object, facts: ConfigFacts) -> None:
    """Records the code of a Lambda: a function by its name, or bytecode, which Keras 2 stores under three keys.

    Bytecode in an object with a `class_name` is found by the walk.
    """
    for key in ("function", "output_shape", "mask"):
        if here.config.get(f"{key}_type") == "lambda":
            _add_lambda(here, here.config.get(key), facts, below=f".config.{key}")
    function = here.config.get("function")
    if isinstance(function, dict) or here.config.get("function_type") == "lambda":
        return
    if isinstance(function, str):
        _add_code(here, "function", function, facts, below=".config.function")
    else:
        _add_lambda(here, function, facts)


def _kind(here: _Object) -> CodeKind:
    if here.text("class_name") == "function":
        return "function"
    if not here.position:
        return "model"
    return "layer" if here.is_layer else "object"


def _add_code(here: _Object, kind: CodeKind, name: str, facts: ConfigFacts, below: str = "") -> None:
    need = CodeNeed(
        kind=kind,
        name=name,
        module=here.text("module") if here.text("module") != "builtins" and not below else "",
        registered_name=here.text("registered_name") if kind != "function" else "",
        layer=here.layer,
        position=here.where + below,
    )
    (facts.compile_only if here.compile_only else facts.custom).append(need)


def _add_lambda(here: _Object, code: Any, facts: ConfigFacts, below: str = "") -> None:
    if here.compile_only:
        _add_code(here, "function", "<lambda>", facts)
    else:
        facts.lambdas.append(LambdaNeed(layer=here.layer, position=here.where + below, hint=_hint(code)))


def _hint(code: Any) -> str:
    """Returns the names in marshalled bytecode. Reads short strings only; nothing is unmarshalled."""
    if isinstance(code, dict):
        code = code.get("code", code.get("value"))
    if isinstance(code, list) and code:
        code = code[0]
    if not isinstance(code, str):
        return ""
    try:
        data = base64.b64decode(code)
    except (binascii.Error, ValueError):
        return ""
    found = (data[m.end() : m.end() + m[1][0]] for m in _MARSHAL_SHORT_STRING.finditer(data))
    words = (word.decode("ascii") for word in found if word.isascii())
    readable = (word for word in words if len(word) > 1 and (word.isidentifier() or word.endswith(".py")))
    return ", ".join(list(dict.fromkeys(readable))[:_HINT_NAMES])
