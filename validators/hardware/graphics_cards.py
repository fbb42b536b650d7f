"""The graphics cards of this machine, and whose turn on one it is.

In: NVIDIA's driver, `/dev` and the environment. Out: `Card`s, and a lock on one. Nothing is loaded: the driver is asked
through its own program, or through the files it keeps in `/proc`.
"""

import contextlib
import functools
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters.errors import Broken
from exporters.files.locks import wait_for_lock

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that lists the cards that CUDA may see, in order."""

_TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
_CARDS = ("nvidia[0-9]*", "dri/renderD*")  # below /dev; through the second kind a card of any make is reached
_MIG = "MIG-"  # begins NVIDIA's name of a slice of a card, which its list of cards does not have
_SOFTWARE = re.compile(r"swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bwarp\b|software", re.IGNORECASE)
_ASK_SECONDS = 10.0
_DEV, _PROC = Path("/dev"), Path("/proc/driver/nvidia")
_LOCK_FOLDERS = (Path("/run/lock"), Path("/tmp"))  # noqa: S108 - a lock must lie where every user finds it


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An NVIDIA card.

    Attributes:
        uuid: NVIDIA's own name of this one piece, `GPU-...`, or of a slice of one, `MIG-...`.
        name: of its kind, e.g. `NVIDIA H200`.
        driver: version of the driver; empty when it is unknown.
    """

    uuid: str
    name: str
    driver: str


def cards() -> tuple[Card, ...]:
    """Returns the NVIDIA cards that a CUDA process started here would see, by CUDA_VISIBLE_DEVICES."""
    installed, visible = installed_cards(), os.environ.get(VISIBLE)
    return installed if visible is None else _chosen(installed, visible)


@functools.cache
def installed_cards() -> tuple[Card, ...]:
    """Returns all NVIDIA cards of this machine, in the order of their slots; looked up once."""
    program = shutil.which("nvidia-smi")
    return (_cards_of_smi(program) if program else ()) or _cards_in_proc(_PROC, _DEV)


def device_nodes() -> tuple[Path, ...]:
    """Returns the device nodes of cards, of any make, that this process may open; none where only software renders."""
    found = (node for pattern in _CARDS for node in sorted(_DEV.glob(pattern)))
    return tuple(node for node in found if os.access(node, os.R_OK | os.W_OK))


def has_hardware() -> bool:
    """Tells whether this machine has any card that a GPU cell could use."""
    return bool(installed_cards() or device_nodes())


def imitated(*, kind: str, name: str) -> bool:
    """Tells whether an adapter is a program that imitates a card.

    Args:
        kind: type of adapter that it reports, in Vulkan's or WebGPU's terms; empty where it reports none.
        name: all other names that it reports.
    """
    return kind.upper().startswith("CPU") or bool(_SOFTWARE.search(f"{kind} {name}"))


def allow_tf32(*, allowed: bool) -> None:
    """Forbids NVIDIA's libraries in this process to round products to TF32, whatever a caller asks of them.

    They read the variable when they are loaded, so this comes before the first use of CUDA. Where TF32 is allowed, the
    caller decides: a variable that the user's shell had set would silently overrule it.
    """
    if allowed:
        os.environ.pop(_TF32_OVERRIDE, None)
    else:
        os.environ[_TF32_OVERRIDE] = "0"


@contextlib.contextmanager
def card_lock(
    card: Card,
    *,
    say: Callable[[str], None],
    given_up: Callable[[], bool] = lambda: False,
    folder: Path | None = None,
) -> Iterator[None]:
    """Keeps other runs of paritygate off a card, of any user on this machine; waits for its turn.

    The lock belongs to the process that holds it: when that dies, the system releases it. The file stays.

    Args:
        card: which one.
        say: told once, when there is a wait.
        given_up: asked while waiting; true ends the wait.
        folder: where the lock files lie; None for the machine's own place.

    Raises:
        Cancelled: `given_up` said so.
        Broken: the lock file cannot be made or opened.
    """
    path = (folder or _lock_folder()) / f"paritygate-{re.sub(r'[^A-Za-z0-9-]', '_', card.uuid)}.lock"
    with wait_for_lock(path, what=card.name, open_file=_opened, cancelled=given_up, on_wait=say):
        yield


def _cards_of_smi(program: str) -> tuple[Card, ...]:
    """Returns the cards that `nvidia-smi` lists; none when it cannot reach the driver."""
    command = [program, "--query-gpu=uuid,name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    rows = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return tuple(Card(uuid=row[0], name=row[1], driver=row[2]) for row in rows if len(row) == 3)  # noqa: PLR2004 - as asked


def _cards_in_proc(proc: Path, dev: Path) -> tuple[Card, ...]:
    """Returns the cards that the driver lists in `/proc`, for a machine without its programs.

    A container without a card sees its host's `/proc`, but not the card's device.
    """
    if not (dev / "nvidiactl").exists():
        return ()
    version = proc / "version"
    driver = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)", version.read_text("utf-8")) if version.exists() else None
    found = []
    for file in sorted(proc.glob("gpus/*/information")):
        facts = {
            key.strip(): value.strip() for key, _, value in (x.partition(":") for x in file.read_text().splitlines())
        }
        if facts.get("GPU UUID") and (dev / f"nvidia{facts.get('Device Minor', '0')}").exists():
            found.append(Card(uuid=facts["GPU UUID"], name=facts.get("Model", ""), driver=driver[1] if driver else ""))
    return tuple(found)


def _chosen(installed: Sequence[Card], visible: str) -> tuple[Card, ...]:
    """Returns the cards that a value of CUDA_VISIBLE_DEVICES names, by number or UUID, up to the first invalid entry.

    Invalid entries end the list in CUDA as well. Numbers count by slot, as CUDA does under
    `CUDA_DEVICE_ORDER=PCI_BUS_ID`. A slice of a card (MIG) is accepted without a check; CUDA will report a missing
    one.
    """
    chosen: list[Card] = []
    for entry in map(str.strip, visible.split(",")):
        numbered = list(installed[int(entry) : int(entry) + 1]) if entry.isdigit() else []
        named = [card for card in installed if entry.startswith("GPU-") and card.uuid.startswith(entry)]
        sliced = [Card(uuid=entry, name="MIG device", driver=card.driver) for card in installed[:1]]
        found = numbered + named + (sliced if entry.startswith(_MIG) else [])
        if len(found) != 1:
            break
        chosen += found
    return tuple(chosen)


def _lock_folder() -> Path:
    """The same folder for every user: only root may write to `/run/lock` on some systems."""
    open_to_all = [f for f in _LOCK_FOLDERS if f.is_dir() and f.stat().st_mode & stat.S_IWOTH]
    if not open_to_all:
        looked = ", ".join(map(str, _LOCK_FOLDERS))
        raise Broken(
            f"no folder that every user may write to holds the GPU lock: looked at {looked}",
            next_step="chmod 1777 /tmp",
        )
    return open_to_all[0]


def _opened(path: Path) -> int:
    """Opens the lock file, for reading: that is enough to lock it, and the file of another user allows no more.

    A new file gets its name when it can be read by all, so no one opens it before. Opening with O_CREAT would fail on
    another user's file in a sticky folder (Linux, fs.protected_regular).
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        if not path.exists():
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as fresh:
                os.fchmod(fresh.fileno(), 0o644)
                with contextlib.suppress(FileExistsError):  # another run was quicker
                    os.link(fresh.name, path)
        return os.open(path, flags)
    except OSError as error:
        raise Broken(
            f"the GPU lock {path} cannot be opened: {error.strerror}",
            next_step=f"look at it, then remove it: rm {path}",
        ) from error
