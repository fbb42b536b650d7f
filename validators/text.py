"""Formats names and numbers for every report.

In: what the records hold; names and messages can come from an untrusted model. Out: text that cannot steer a terminal,
and numbers short enough for a table.
"""

from collections.abc import Mapping

_UNITS = ("B", "KiB", "MiB", "GiB")


def printable(text: str) -> str:
    r"""Returns the text with control, format and surrogate characters spelled out (`\x1b`), newlines kept.

    An escape sequence in a layer's name could otherwise repaint a terminal, reverse the direction of the text, or make
    an XML file unreadable.
    """
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    """Returns the printable text with every run of white space turned into one space."""
    return printable(" ".join(text.split()))


def number(value: float | None) -> str:
    """Formats a distance or a tolerance with two digits, `0` where it is exactly zero, `-` where there is none."""
    if value is None:
        return "-"
    return f"{value:.1e}" if value else "0"


def size(count: int) -> str:
    """Formats bytes in the largest unit that leaves at least one: `512 B`, `1.5 KiB`, `103.2 MiB`."""
    power = min(max(count.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{count / 1024**power:.1f} {_UNITS[power]}" if power else f"{count} B"


def counted(count: int, thing: str) -> str:
    """Formats a number of things: `1 cell`, `2 cells`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def operators(counts: Mapping[str, int]) -> str:
    """Lists counted operators, the most frequent first: `2 Shape, 1 Gather`."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count} {name}" for name, count in ranked)
