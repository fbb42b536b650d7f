"""The steps of a Dockerfile, performed outside a container in a scratch folder that stands for its root.

In: the text of a Dockerfile whose RUN lines name files below their WORKDIR alone. Out: the folder as the image would
have it, the environment, and the command. System packages are only looked up, users only noted, caches are the host's.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_MOUNT = re.compile(r"--mount=\S+\s+")
_APT = re.compile(r"apt-get update && apt-get install -y --no-install-recommends ([a-z0-9 .+-]+)")
_ABSOLUTE = re.compile(r"(?:^|[\s=:'\"])/\w")


@dataclass(slots=True, kw_only=True)
class Image:
    """What the steps of one stage have made so far."""

    root: Path
    base: str
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def inside(self, path: str) -> Path:
        """Where a path of the image lies here."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")  # noqa: PTH118 - an absolute one wins

    def variables(self) -> dict[str, str]:
        """The environment of a process in the image; its own folders come before the host's."""
        own = {name: self._here(value) for name, value in self.environment.items()}
        return {**os.environ, **own, **self.arguments}

    def _here(self, value: str) -> str:
        return re.sub(r"(^|:)(/opt/)", rf"\1{self.root}\2", value)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Every instruction with its arguments, continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        yield name.upper(), rest.strip()


def build(file: Path, context: Path, scratch: Path, arguments: Mapping[str, str]) -> Image:
    """Performs every step; gives the last stage.

    Raises:
        ValueError: an instruction that is not known here, or one that would touch the host.
        subprocess.CalledProcessError: a step failed; its output is kept.
    """
    stages: dict[str, Image] = {}
    image: Image | None = None
    for name, rest in instructions(file.read_text("utf-8")):
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            image = Image(root=scratch / (alias or "final"), base=base)
            stages[alias or "final"] = image
            continue
        assert image is not None, "an instruction before FROM"
        if name == "ARG":
            key, _, default = rest.partition("=")
            image.arguments[key] = arguments.get(key, default.strip('"'))
        elif name == "COPY":
            _copy(image, rest.split(), context, stages)
        else:
            _step(image, name, rest)
    assert image is not None
    return image


def _step(image, name, rest):
    match name:
        case "WORKDIR":
            image.workdir = rest
            image.inside(".").mkdir(parents=True, exist_ok=True)
        case "ENV":
            for pair in shlex.split(rest):
                key, _, value = pair.partition("=")
                image.environment[key] = value.replace("$PATH", os.environ["PATH"])
        case "RUN":
            _run(image, _MOUNT.sub("", rest))
        case "USER":
            image.user = rest
        case "ENTRYPOINT" | "CMD":
            words = [word.strip().strip('"') for word in rest.strip("[]").split(",")]
            setattr(image, "entrypoint" if name == "ENTRYPOINT" else "command", words)
        case _:
            msg = f"{name} {rest}: not performed outside a container"
            raise ValueError(msg)


def _copy(image, words, context, stages):
    root = context
    if words[0].startswith("--from="):
        root = stages[words.pop(0).removeprefix("--from=")].root
    *sources, target = words
    for source in sources:
        path = root / source.lstrip("/")
        to = image.inside(target)
        to = to / path.name if target.endswith("/") else to
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, to, ignore=shutil.ignore_patterns("__pycache__", *_ignored(root)), symlinks=True)
        else:
            shutil.copy2(path, to)


def _ignored(root):
    file = root / ".dockerignore"
    return [line.removeprefix("**/") for line in file.read_text().split()] if file.is_file() else []


def _run(image, command):
    if installed := _APT.fullmatch(command):
        image.packages += installed[1].split()
        return
    if _ABSOLUTE.search(command) or "apt-get" in command:
        msg = f"RUN {command}: names files outside its WORKDIR, so it is not performed outside a container"
        raise ValueError(msg)
    shell = ["sh", "-ec", command]
    done = subprocess.run(
        shell, cwd=image.inside("."), env=image.variables(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
