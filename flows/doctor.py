"""`paritygate doctor`: what this machine can run, and the command that brings what is missing.

In: the registries and this machine. Out: a `Diagnosis` and its page. Packages are looked up, never imported.
"""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.errors import BadInput
from exporters.registry import EXPORTERS
from validators.availability import missing, remedy
from validators.contract import Device
from validators.registry import RUNTIMES, RuntimeRow
from validators.report.text import one_line
from validators.web.browser import CHROMIUM_HINT, find_chromium
from validators.web.session import PACKAGES_HINT, package_names, package_versions

if TYPE_CHECKING:
    from rich.console import Console

_ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A package or program that an exporter, a runtime or the flow needs.

    Attributes:
        name: what it is called.
        version: as installed; empty when missing.
        serves: what it is for.
        where: path of a program; empty for packages.
        remedy: the command that brings it; empty when it is there.
    """

    name: str
    version: str
    serves: str
    where: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeState:
    """A runtime on a device.

    Attributes:
        name, format, device: as in the registry.
        required: whether the default policy demands it.
        ready: whether it can run here.
        version: of the package that brings it, in a browser the page's own; empty when missing.
        adapter: what it would run on.
        problem: what is missing and the command that brings it; empty when ready.
    """

    name: str
    format: str
    device: Device
    required: bool
    ready: bool
    version: str
    adapter: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """This machine.

    Attributes:
        system: operating system, Python, processor, cores.
        gpu: the cards that NVIDIA's driver names, or that there is none.
        runtimes: one for every row of the registry.
        tools: what exporters, browser cells and the flow need.
    """

    system: str
    gpu: str
    runtimes: tuple[RuntimeState, ...]
    tools: tuple[Tool, ...]


def examine() -> Diagnosis:
    """Looks at this machine; takes well under a second."""
    processor = _processor()
    browser = _chromium()
    return Diagnosis(
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{processor}, {os.cpu_count()} cores",
        gpu=_gpu(),
        runtimes=tuple(_runtime(row, processor, browser) for row in RUNTIMES),
        tools=(*_exporter_packages(), *_flow_packages(), browser, *_page_packages(), _node()),
    )


def render(found: Diagnosis, console: "Console") -> None:
    """Prints the machine, the runtimes, the tools, and then a line for each thing that is missing."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    console.print(Text(f"{found.system}\nGPU: {found.gpu}"))
    runtimes = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("", "runtime", "runs", "on", "version", "adapter"):
        runtimes.add_column(heading, overflow="fold", no_wrap=heading != "adapter")
    for runtime in found.runtimes:
        runtimes.add_row(
            _mark(ready=runtime.ready), runtime.name, runtime.format, runtime.device, runtime.version, runtime.adapter
        )
    tools = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("", "tool", "version", "for"):
        tools.add_column(heading, overflow="fold", no_wrap=heading == "tool")
    for tool in found.tools:
        tools.add_row(_mark(ready=not tool.remedy), tool.name, tool.version, tool.serves)
    console.print()
    console.print(runtimes)
    console.print(tools)
    problems = [
        f"{runtime.name} on {runtime.device}: {runtime.problem}" for runtime in found.runtimes if runtime.problem
    ]
    problems += [f"{tool.name}: {tool.remedy}" for tool in found.tools if tool.remedy]
    for problem in problems:
        console.print(Text.assemble(("missing  ", "yellow"), problem), soft_wrap=True)
    if not problems:
        console.print(Text("Everything is here.", style="green"))


def _mark(*, ready: bool) -> str:
    return "[green]yes[/]" if ready else "[yellow]no[/]"


def _runtime(row: RuntimeRow, processor: str, browser: Tool) -> RuntimeState:
    try:
        problem = missing(row) or (browser.remedy if row.browser else "")
    except BadInput as error:  # PARITYGATE_CHROMIUM names nothing that runs
        problem = str(error)
    adapter = f"{browser.name} {browser.version}" if row.browser else processor
    return RuntimeState(
        name=row.name,
        format=row.format,
        device=row.device,
        required=row.required,
        ready=not problem,
        version=_page_version(row) if row.browser else _version(row.distribution),
        adapter="" if problem else adapter,
        problem=problem,
    )


def _exporter_packages() -> list[Tool]:
    """The converters' packages, each with the formats that need it."""
    serves: dict[str, list[str]] = {}
    for row in EXPORTERS:
        for package in row.toolchain:
            formats = serves.setdefault(package, [])
            if row.format not in formats:
                formats.append(row.format)
    return [_package(name, f"export to {', '.join(formats)}", extra="export") for name, formats in serves.items()]


def _flow_packages() -> list[Tool]:
    return [_package("prefect", "flows; --no-prefect does without", extra="flow")]


def _page_packages() -> list[Tool]:
    """The npm packages of the page that runs TF.js."""
    found = package_versions()
    return [
        Tool(
            name=name,
            version=found.get(name, ""),
            serves="TF.js cells",
            remedy="" if name in found else PACKAGES_HINT,
        )
        for name in package_names()
    ]


def _page_version(row: RuntimeRow) -> str:
    """The version of the page's packages that are called after the row's format."""
    return ", ".join(sorted({version for name, version in package_versions().items() if row.format in name}))


def _package(name: str, serves: str, *, extra: str) -> Tool:
    found = _version(name)
    return Tool(name=name, version=found, serves=serves, remedy="" if found else remedy(extra))


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _chromium() -> Tool:
    try:
        path = find_chromium()
    except BadInput as error:
        return Tool(name="Chromium", version="", serves="TF.js cells", remedy=str(error))
    if path is None:
        return Tool(name="Chromium", version="", serves="TF.js cells", remedy=CHROMIUM_HINT)
    said = _ask([str(path), "--version"])
    return Tool(
        name="Chromium",
        version=said.split(" built")[0].removeprefix("Chromium "),
        serves="TF.js cells",
        where=str(path),
        remedy="" if said else f"{path} cannot be run; {CHROMIUM_HINT}",
    )


def _node() -> Tool:
    path = shutil.which("node")
    remedy = "" if path else "apt-get install nodejs npm (Node 20; only set-up needs it)"
    said = _ask([path, "--version"]) if path else ""
    return Tool(name="Node", version=said.removeprefix("v"), serves="browser packages", where=path or "", remedy=remedy)


def _gpu() -> str:
    """What NVIDIA's driver lists; without it there is no CUDA device."""
    path = shutil.which("nvidia-smi")
    cards = _ask([path, "--query-gpu=name,driver_version", "--format=csv,noheader"]) if path else ""
    return f"CUDA: {cards}" if cards else "no CUDA device"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _ask(command: list[str]) -> str:
    """The program's answer on one line; empty when it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return one_line(done.stdout) if done.returncode == 0 else ""
