"""Where a release is put together, and how it gets its final name in one step.

In: the directory the user wants. Out: a staging folder beside it, on the same file system; at the end a rename. A run
that dies leaves at most a staging folder, never half a release.
"""

import shutil
import tempfile
from pathlib import Path

from exporters.errors import BadInput
from exporters.store import files_below
from validators.integrity import ATTESTATIONS
from validators.manifest import MANIFEST, load


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
            next_step="Choose another directory with -o.",
        )


def _foreign(target: Path) -> str:
    """What in a directory a release would not hold; empty when it is a release and nothing else."""
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
    """The staging folder of one run.

    Attributes:
        release: becomes the release directory.
        scratch: for everything that does not.
        logs: one log file for each job; part of the release.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        target.parent.mkdir(parents=True, exist_ok=True)
        self._staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
        self.release = self._staging / "release"
        self.scratch = self._staging / "scratch"
        self.logs = self.release / "evidence" / "logs"
        for folder in (self.scratch, self.logs):
            folder.mkdir(parents=True)

    def publish(self) -> None:
        """Gives the finished release its final name; an older release there is moved aside first.

        Raises:
            BadInput: what stands there by now is not ours to replace.
        """
        refuse_target(self.target)
        replaced = self._staging / "replaced"
        if self.target.exists():
            self.target.rename(replaced)
        try:
            self.release.rename(self.target)
        except OSError:
            if replaced.exists():
                replaced.rename(self.target)
            raise

    def remove(self) -> None:
        """Removes the staging folder with whatever is left in it."""
        shutil.rmtree(self._staging, ignore_errors=True)
