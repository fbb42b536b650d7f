"""Recognises what a file is that claims to be a `.keras` archive and is not a zip.

In: its first bytes. Out: a noun for the message, and what the user can do with such a file.
"""

_RESAVE = "Load it where it was made and save it with Keras 3: model.save('model.keras')."

_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it and give the `.keras` file inside."),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it and give the `.keras` file inside."),
    (0, b"\xfd7zXZ\x00", "an xz archive", "Unpack it and give the `.keras` file inside."),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", "Unpack it and give the `.keras` file inside."),
    (257, b"ustar", "a tar archive", "Unpack it and give the `.keras` file inside."),
    (4, b"TFL3", "a TF Lite model, which is an export already", "Give the `.keras` file it was made from."),
    (0, b"\x93NUMPY", "a NumPy array", "Give the model's `.keras` file."),
    # SavedModel: field 1 (saved_model_schema_version) = 1, then field 2 (meta_graphs).
    (0, b"\x08\x01\x12", "the `saved_model.pb` of a TensorFlow SavedModel", "Give the folder that it lies in."),
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer: the file itself was never fetched",
        "Run: git lfs pull",
    ),
    (0, b"<!DOCTYPE", "a web page, so a download went wrong", "Download the file itself, not the page that shows it."),
    (0, b"<html", "a web page, so a download went wrong", "Download the file itself, not the page that shows it."),
)


def recognise(head: bytes) -> tuple[str, str]:
    """Returns a noun for the file and the next step, from its first 512 bytes."""
    for offset, signature, noun, next_step in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return noun, next_step
    if _is_pickle(head):
        return "a Python pickle, which runs code when it is loaded and is never read here", _RESAVE
    if _is_text(head):
        if head.lstrip()[:1] in (b"{", b"["):
            return "JSON text", "If it is a model's architecture, give the weights, and this as --architecture."
        return "a text file", "A `.keras` file is a zip archive that Keras 3 writes: model.save('model.keras')."
    return "no zip archive", "A `.keras` file is a zip archive that Keras 3 writes: model.save('model.keras')."


def _is_pickle(head: bytes) -> bool:
    """Recognises pickle protocols 2 to 5, which begin with PROTO and the protocol's number."""
    first_protocol, last_protocol = 2, 5
    return len(head) > 1 and head[0] == 0x80 and first_protocol <= head[1] <= last_protocol  # noqa: PLR2004 - PROTO


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character cut at the end of `head` is still text
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)
