"""Makes names from an untrusted file safe to show on a terminal."""


def printable(text: str) -> str:
    """Returns the text with unprintable characters written out in ASCII, so that it cannot steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
