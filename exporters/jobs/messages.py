"""Turns a job's request and answer into JSON and back, by the types that its function declares.

In: a module-level function of one annotated argument with an annotated result. Out: its dotted name, by which another
process finds it again, and both records as JSON. Numbers that JSON cannot write (NaN, infinity) are refused.
"""

import functools
import importlib
import inspect
import json
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Function = Callable[[Any], Any]


def name_of(function: Function) -> str:
    """Returns `package.module:name` of a job's function.

    Raises:
        ValueError: it is no function at the top of a module, so that no other process could import it.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    if not inspect.isfunction(function) or "." in function.__qualname__ or "<" in function.__qualname__:
        msg = f"{name} cannot be a job: valid is a function at the top of a module, which another process can import"
        raise ValueError(msg)
    return name


def resolve(name: str) -> Function:
    """Imports the function that `package.module:name` names."""
    module, _, function = name.partition(":")
    resolved: Function = getattr(importlib.import_module(module), function)
    return resolved


def encode_request(function: Function, request: Any) -> str:
    """Returns the request as JSON.

    Raises:
        ValueError: it holds what its declared type does not allow, or NaN or an infinity.
    """
    return _encode(_adapters(function)[0], request)


def decode_request(function: Function, text: str) -> Any:
    """Returns the request from its JSON, as the function declares it."""
    return _adapters(function)[0].validate_json(text)


def encode_answer(function: Function, answer: Any) -> Any:
    """Returns the answer as values that JSON can hold."""
    return _adapters(function)[1].dump_python(answer, mode="json", warnings="error")


def decode_answer(function: Function, value: Any) -> Any:
    """Returns the answer from its JSON values, as the function declares it."""
    return _adapters(function)[1].validate_python(value)


def _encode(adapter: "TypeAdapter[Any]", value: Any) -> str:
    return json.dumps(adapter.dump_python(value, mode="json", warnings="error"), allow_nan=False)


@functools.cache
def _adapters(function: Function) -> "tuple[TypeAdapter[Any], TypeAdapter[Any]]":
    """Returns the adapters of the function's request and of its answer."""
    types = get_type_hints(function)
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 1 or not {parameters[0], "return"} <= types.keys():
        msg = f"{name_of(function)} cannot be a job: valid is one annotated argument and an annotated result"
        raise ValueError(msg)
    return _adapter(types[parameters[0]]), _adapter(types["return"])


def _adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import ConfigDict, TypeAdapter

    # By default pydantic silently writes NaN as null in values of type Any; with this setting JSON refuses it.
    untyped: bool = not is_dataclass(kind)
    return TypeAdapter(kind, config=ConfigDict(ser_json_inf_nan="constants") if untyped else None)
