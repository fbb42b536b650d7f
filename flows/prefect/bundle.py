"""Puts a release's inputs into storage that the workers reach: model, samples and custom code, as one folder.

In: settings whose paths are those of this machine, and the URL of a folder (`s3://bucket/inbox`, `/mnt/shared/inbox`).
Out: settings whose paths are relative to the folder `URL/DIGEST/`, which holds every file they name. The digest is that
of the files together, so a second upload of the same files finds them there, and a worker proves what it fetched.
"""

import tempfile
from pathlib import Path

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree, files_below
from flows.config.input_files import copy, with_paths_replaced
from flows.config.settings import Settings
from flows.prefect.storage import opened, put, storage_errors

_COMPLETE = ".complete"
"""Written last: an interrupted upload has none, and is repeated."""


def pack(settings: Settings, storage: str) -> tuple[Settings, str]:
    """Uploads what the settings name, unless it is there already.

    Args:
        settings: paths as this machine sees them.
        storage: URL of a folder, any that fsspec has a driver for.

    Returns:
        (the settings with paths below the bundle, the bundle's URL).

    Raises:
        BadInput: the storage cannot be written.
        Broken: it does not answer.
    """
    files, inbox = opened(storage)
    with tempfile.TemporaryDirectory(prefix="paritygate-bundle-") as scratch:
        folder = Path(scratch)

        def collect(role: str, path: Path) -> Path:
            copy(path, folder / role / path.name)
            return Path(role, path.name)

        packed = with_paths_replaced(settings, collect)
        digest, _ = digest_tree(folder)
        root = f"{inbox.rstrip('/')}/{digest}"
        targets = {file: f"{root}/{file.relative_to(folder).as_posix()}" for file in files_below(folder)}
        with storage_errors(storage):
            whole = files.exists(f"{root}/{_COMPLETE}")
            for file, target in targets.items():
                if not (whole and files.exists(target) and files.size(target) == file.stat().st_size):
                    put(files, file, target)
            files.pipe_file(f"{root}/{_COMPLETE}", b"")
    return packed, f"{storage.rstrip('/')}/{digest}"


def unpack(settings: Settings, url: str, folder: Path) -> Settings:
    """Fetches a bundle; returns the settings with paths below `folder`.

    Raises:
        BadInput: it is missing, not complete, or its files do not have the digest in its name.
        Broken: the storage does not answer.
    """
    files, root = opened(url)
    with storage_errors(url):
        if not files.exists(f"{root}/{_COMPLETE}"):
            raise BadInput(f"{url}: no complete bundle is there", next_step="Submit the model again.")
        files.get(f"{root}/", f"{folder}/", recursive=True)
    (folder / _COMPLETE).unlink()
    if digest_tree(folder)[0] != url.rpartition("/")[2]:
        raise BadInput(f"{url}: its files are not the ones that were submitted", next_step="Submit the model again.")
    return with_paths_replaced(settings, lambda _, path: folder / path)
