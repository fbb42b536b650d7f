"""Folders and buckets through fsspec: how they are reached, and what is said when they are not.

In: a path or a URL (`/mnt/models`, `s3://bucket/models`). Out: fsspec's file system and the path inside it. Every error
of a driver becomes one of ours: what the user can mend (a name, a permission, a package) is bad input, a storage that
does not answer is broken. The extra `s3` installs the driver for buckets; their address and credentials are those of
AWS' own tools (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, ...).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from exporters.errors import BadInput, Broken

_WITHOUT_FOLDERS = {"s3", "gs", "abfs"}
_MENDABLE = (ImportError, ValueError, PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)


def opened(url: str) -> tuple[Any, str]:
    """Returns the file system of a URL and the path there, with an empty cache of listings.

    Raises:
        BadInput: no such scheme, or its driver is not installed.
    """
    with storage_errors(url):
        files, path = fsspec.core.url_to_fs(url)
        files.invalidate_cache()
    return files, path


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turns what a storage driver raises into a sentence about the URL.

    Raises:
        BadInput: a wrong name, a missing permission, no credentials, or no driver.
        Broken: the storage does not answer, or fails.
    """
    try:
        yield
    except _MENDABLE as error:
        raise _unusable(url, error) from error
    except OSError as error:
        raise _away(url, error) from error
    except _bucket_errors("ConnectionError", "HTTPClientError") as error:
        raise _away(url, error) from error
    except _bucket_errors("BotoCoreError") as error:
        raise _unusable(url, error) from error


@contextmanager
def fetched(files: Any, path: str) -> Iterator[Path]:
    """Yields a file as a local one: itself, or a copy that lasts until the context ends.

    Raises:
        BadInput, Broken: as `storage_errors` says.
    """
    if "file" in files.protocol:  # a tuple of its names
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="paritygate-fetched-") as scratch:
        copy = Path(scratch) / PurePosixPath(path).name
        with storage_errors(path):
            files.get_file(path, str(copy))
        yield copy


def put(files: Any, file: Path, path: str) -> None:
    """Uploads a file. In a bucket no folder is made for it: the driver would make a bucket of a mistyped name."""
    if not _WITHOUT_FOLDERS.intersection(files.protocol):
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
    files.put_file(str(file), path)


def _bucket_errors(*names: str) -> tuple[type[Exception], ...]:
    """Returns the errors that the driver for s3:// raises in addition to OSError; imported only after an error."""
    try:
        from botocore import exceptions
    except ImportError:
        return ()
    return tuple(getattr(exceptions, name) for name in names)


def _unusable(url: str, error: Exception) -> BadInput:
    return BadInput(
        f"{url}: cannot be used: {type(error).__name__}: {error}",
        next_step="Give a folder or a bucket whose fsspec driver is installed (the extra `s3` has the one for s3://), "
        "and which may be read and written with the credentials of this machine.",
    )


def _away(url: str, error: Exception) -> Broken:
    return Broken(
        f"{url}: does not answer: {type(error).__name__}: {error}",
        next_step="Check that the storage is up and reached from here, then try again.",
    )
