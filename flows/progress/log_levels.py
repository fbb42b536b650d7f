"""Finds the level of a line from another program: Python's logging, glog, absl, TensorFlow, ONNX Runtime, Chromium.

In: a line and the level of the one before. Out: its `Level`. Pure.
"""

import logging
import re
from dataclasses import dataclass

_LETTERS = {"D": logging.DEBUG, "V": logging.DEBUG, "I": logging.INFO, "W": logging.WARNING}
_LETTERS |= {"E": logging.ERROR, "F": logging.CRITICAL}
_WORDS = {"DEBUG": logging.DEBUG, "VERBOSE1": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING}
_WORDS |= {"ERROR": logging.ERROR, "CRITICAL": logging.CRITICAL, "FATAL": logging.CRITICAL}
_NAMED = "|".join(_WORDS)

_PAGE = re.compile(r"^\[page (?:log|info|debug|(?P<bad>error|warning))\] ")  # from a page's console
_FORMS = (
    re.compile(rf"^(?P<word>{_NAMED}):[\w.]*:"),  # logging.BASIC_FORMAT
    re.compile(rf"^(?P<word>{_NAMED}): "),  # TensorFlow Lite, absl before its start
    re.compile(rf"^[\d-]+ [\d:,.]+ - (?P<word>{_NAMED}) - "),  # tf2onnx
    re.compile(r"^(?P<letter>[DIWEF])\d{4} \d\d:\d\d:\d+"),  # glog and absl
    re.compile(r"^\d{4}-\d\d-\d\d [\d:.]+: (?P<letter>[IWEF]) "),  # TensorFlow's C++
    re.compile(r"^[\d-]+ [\d:.]+ \[(?P<letter>[VIWEF]):onnxruntime"),
    re.compile(rf"^\[[\d:/.]*:(?P<word>{_NAMED}):[\w.]+[:(]"),  # Chromium
)
_WARNING = re.compile(r"^.+:\d+: \w*Warning: ")  # Python's warnings
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Holds the level of a line, and whether the line is inside a traceback."""

    number: int
    traceback: bool = False


PLAIN = Level(number=logging.INFO)
"""The level of a line without one."""


def level_of(line: str, before: Level) -> Level:
    """Returns the level of a line.

    An indented line belongs to the one before it. A traceback continues up to its first line that is not indented,
    which names the error.
    """
    if line.startswith(_TRACEBACK):
        return Level(number=logging.ERROR, traceback=True)
    if line[:1].isspace():
        return before
    if before.traceback:
        return Level(number=logging.ERROR)
    page = _PAGE.match(line)
    for form in _FORMS:
        if found := form.match(line[page.end() :] if page else line):
            groups = found.groupdict()
            return Level(number=_WORDS[groups["word"]] if "word" in groups else _LETTERS[groups["letter"]])
    if page and page["bad"]:
        return Level(number=_WORDS[page["bad"].upper()])
    return Level(number=logging.WARNING) if _WARNING.match(line) else PLAIN
