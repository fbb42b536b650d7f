"""Builds a release in a staging folder and gives it its final name in one step.

In: the directory the user wants. Out: a staging folder next to it, on the same file system; at the end a rename. A run
that dies leaves at most a staging folder, never half a release. The next run on the directory takes over the finished
stages in it (see `flows.pipeline.resume`) and removes it at its own end. Of several such folders the last two are
searched. A staging folder older than a week is removed by the next run in the same parent folder. One run at a time
works on a directory, on any process or machine, as long as the storage supports locks.
"""

import contextlib
import glob
import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path

from exporters.errors import BadInput
from exporters.files.hashing import files_below
from exporters.files.locks import Lock
from validators.release.integrity import ATTESTATIONS
from validators.release.manifest import MANIFEST, load

_MOST_LEFT = 2
_KEPT_SECONDS = 7 * 24 * 3600.0


class ReleaseInUse(BadInput):
    """Reports that another run is making the same release directory."""


def refuse_target(target: Path) -> None:
    """Makes sure that nothing of the user's would be overwritten.

    Raises:
        BadInput: the target exists and is not a release, or is one that others have attested.
    """
    if not target.exists() and not target.is_symlink():
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    foreign = _foreign(target)
    if foreign:
        raise BadInput(
            f"{target}: exists and is not a release directory ({foreign})",
            next_step="Choose another directory with -o, or remove this one.",
        )
    attestations = target / ATTESTATIONS
    if attestations.is_dir() and any(attestations.iterdir()):
        raise BadInput(
            f"{target}: is a release with attestations, which a new release would lose",
            next_step=f"Choose another directory with -o, one for every run; or move {attestations} away, so that the "
            "release can be replaced.",
        )


def _foreign(target: Path) -> str:
    """Describes why a directory is not only a release; empty when it is."""
    if not (target / MANIFEST).is_file():
        return f"it has no {MANIFEST}"
    try:
        named = {record.path for record in load(target).files} | {MANIFEST}
    except BadInput as error:
        return error.message
    for file in files_below(target):
        path = file.relative_to(target)
        if path.as_posix() not in named and path.parts[0] != ATTESTATIONS:
            return f"its {MANIFEST} does not know {path}"
    return ""


class Workspace:
    """Manages the staging folder of one run.

    Attributes:
        staging: the folder itself.
        release: becomes the release directory.
        scratch: for everything that is not part of the release.
        stages: for records of finished stages.
        leftovers: staging folders of killed runs on the same target, the last one first.
        logs: one log file for each job; part of the release.

    Raises:
        ReleaseInUse: another run has a staging folder for the same target.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        target.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(target)
        try:
            self.leftovers = _leftovers(target)
            _remove_old(target.parent)
            self.staging = Path(tempfile.mkdtemp(prefix=_staging_prefix(target), dir=target.parent))
        except OSError:
            self._lock.release()
            raise
        self.release = self.staging / "release"
        self.scratch = self.staging / "scratch"
        self.stages = self.staging / "stages"
        self.logs = self.release / "evidence" / "logs"
        for folder in (self.scratch, self.logs):
            folder.mkdir(parents=True)

    def publish(self) -> None:
        """Gives the finished release its final name; an older release there is moved aside first.

        Raises:
            BadInput: the directory now holds something that is not a release.
        """
        refuse_target(self.target)
        replaced = self.staging / "replaced"
        if self.target.exists():
            self.target.rename(replaced)
        try:
            self.release.rename(self.target)
        except OSError:
            if replaced.exists():
                replaced.rename(self.target)
            raise

    def remove(self) -> None:
        """Removes the staging folder and those of killed runs, and releases the lock of the target."""
        for folder in (self.staging, *self.leftovers):
            shutil.rmtree(folder, ignore_errors=True)
        self._lock.release(remove=True)


def _staging_prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def _leftovers(target: Path) -> tuple[Path, ...]:
    """Finds the staging folders of killed runs of a target: the lock proves that none of them is alive."""
    last_first = sorted(target.parent.glob(f"{glob.escape(_staging_prefix(target))}*"), key=_age)
    kept = [left for left in last_first if _is_ours(left) and _age(left) <= _KEPT_SECONDS][:_MOST_LEFT]
    for left in last_first:
        if left not in kept:
            shutil.rmtree(left, ignore_errors=True)
    return tuple(kept)


def _remove_old(folder: Path) -> None:
    """Removes old staging folders of killed runs, which no later run took over."""
    for left in folder.glob(".*.partial-*"):
        with contextlib.suppress(ReleaseInUse, FileNotFoundError):  # another run may remove its own meanwhile
            if _age(left) > _KEPT_SECONDS and _is_ours(left):
                lock = _lock(left.with_name(re.sub(r"\.partial-[^.]*$", "", left.name[1:])))
                try:
                    shutil.rmtree(left, ignore_errors=True)
                finally:
                    lock.release(remove=True)


def _age(folder: Path) -> float:
    """Returns the seconds since something was added to a staging folder itself."""
    return time.time() - folder.lstat().st_mtime


def _is_ours(folder: Path) -> bool:
    """Tells whether a folder is real, owned by this user and not writable by others, as `mkdtemp` makes it."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _lock(target: Path) -> Lock:
    """Takes the lock of a target, until it is released or the process dies.

    Raises:
        ReleaseInUse: another run has it.
    """
    try:
        return Lock(target.with_name(f".{target.name}.lock"))
    except BlockingIOError as error:
        raise ReleaseInUse(
            f"{target}: another run is making this release",
            next_step="Wait for it, or choose another directory with -o.",
        ) from error
