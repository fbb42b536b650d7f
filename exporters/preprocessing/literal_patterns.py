"""Recognises regular expressions that match a list of texts and nothing more.

In: a pattern of `tf.strings.regex_replace`, in RE2's syntax. Out: the texts that it matches: one, or the characters of
one class. All regex engines agree on those; they may differ on anything else (named classes, repetition, anchors).
"""

import string

_SPECIAL = set(".^$*+?()[]{}|\\")
_PLAIN = set(string.printable)


def texts_matched(pattern: str) -> tuple[str, ...] | None:
    """Returns the texts that a pattern matches; None where it is no plain list of them."""
    if pattern.startswith("[") and pattern.endswith("]"):
        return _of_class(pattern[1:-1])
    characters = _unescaped(pattern)
    if not characters or any(char in _SPECIAL and not escaped for char, escaped in characters):
        return None
    return ("".join(char for char, _ in characters),)


def _of_class(body: str) -> tuple[str, ...] | None:
    characters = _unescaped(body)
    if not characters or any(char not in _PLAIN for char, _ in characters):
        return None
    if characters[0] == ("^", False) or {("[", False), ("]", False)} & set(characters):
        return None
    found: dict[str, None] = {}
    place = 0
    while place < len(characters):
        char = characters[place][0]
        if characters[place + 1 : place + 2] == [("-", False)] and place + 2 < len(characters):
            last = characters[place + 2][0]
            found.update(dict.fromkeys(map(chr, range(ord(char), ord(last) + 1))))
            place += 3
        else:
            found[char] = None
            place += 1
    return tuple(found)


def _unescaped(pattern: str) -> list[tuple[str, bool]] | None:
    """Returns each character and whether it was escaped; None where the escape means something else."""
    characters = []
    rest = iter(pattern)
    for char in rest:
        if char != "\\":
            characters.append((char, False))
            continue
        escaped = next(rest, "")
        if escaped not in string.punctuation + " " or not escaped:
            return None
        characters.append((escaped, True))
    return characters
