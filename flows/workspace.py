"""Where a release is put together, and how it gets its final name in one step.

In: the directory the user wants. Out: a staging folder beside it, on the same file system; at the end a rename. A run
that dies leaves at most a staging folder, never half a release.
"""

import shutil
import tempfile
from pathlib import Path

from exporters.errors import BadInput
from validators.integrity import ATTESTATIONS
from validators.manifest import MANIFEST


def refuse_target(target: Path) -> None:
    """Makes sure that nothing of the user's would be overwritten.

    Raises:
        BadInput: the target exists and is not a release, or is one that others have attested.
    """
    if not target.exists() and not target.is_symlink():
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    if not (target / MANIFEST).is_file():
        raise BadInput(
            f"{target}: exists and is not a release directory (it has no {MANIFEST})",
            next_step="Choose another directory with -o, or remove this one.",
        )
    attestations = target / ATTESTATIONS
    if attestations.is_dir() and any(attestations.iterdir()):
        raise BadInput(
            f"{target}: is a release with attestations, which a new release would lose",
            next_step="Choose another directory with -o.",
        )


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
        """Gives the finished release its final name; an older release there makes way in the same breath."""
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
