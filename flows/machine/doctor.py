"""Examines what this machine can run, and names the command that installs what is missing: `paritygate doctor`.

In: the registries and this machine. Out: a `MachineReport` and its printed form. Packages are looked up, not imported.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.errors import BadInput, Broken
from exporters.formats.registry import EXPORTERS
from exporters.installation import setup_command
from exporters.jobs import Job, Limits, Workers
from flows.machine.identity import processor, system
from validators.contract import Device
from validators.hardware.chromium import CHROMIUM_HINT, find_chromium
from validators.hardware.graphics_cards import cards
from validators.runtimes.availability import installed, missing, no_card, remedy
from validators.runtimes.gpu_probe import GpuAdapter, ProbeRequest, probe_browser, probe_native
from validators.runtimes.registry import RUNTIMES
from validators.runtimes.row import RuntimeRow
from validators.text import one_line
from validators.web.browser import BrowserHost
from validators.web.page_session import PACKAGES_HINT, package_names, package_version, package_versions

if TYPE_CHECKING:
    from rich.console import Console

_ASK_SECONDS = 10.0
_PROBE_SECONDS = 60.0
_IN_PAGES = ("WebGL", "WebGPU")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Describes a package or program that an exporter, a runtime or the flow needs.

    Attributes:
        name: its name.
        version: as installed; empty when missing.
        serves: its purpose.
        where: path of a program; empty for packages.
        remedy: the command that installs it; empty when it is there.
    """

    name: str
    version: str
    serves: str
    where: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeState:
    """Describes a runtime on a device.

    Attributes:
        name, format, device: as in the registry.
        required: whether the default policy demands it.
        ready: whether it can run here.
        version: of the package that contains it, in a browser the page's own; empty when missing.
        adapter: the hardware it would run on.
        problem: what is missing and the command that installs it; empty when ready.
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
class MachineReport:
    """Describes this machine and what can run on it.

    Attributes:
        system: operating system, Python, processor, cores.
        adapters: its GPUs, by every interface that a runtime reaches one through.
        runtimes: every runtime of the registry on every device.
        tools: what exporters, browser cells and the flow need.
    """

    system: str
    adapters: tuple[GpuAdapter, ...]
    runtimes: tuple[RuntimeState, ...]
    tools: tuple[Tool, ...]


def examine() -> MachineReport:
    """Examines this machine in a few seconds; it starts Chromium once, to see which GPUs a page gets."""
    name = processor()
    browser = _chromium()
    adapters = _adapters(browser)
    return MachineReport(
        system=f"{system()}, {name}, {os.cpu_count()} cores",
        adapters=adapters,
        # Rows that allow TF32 are the same runtimes a second time.
        runtimes=tuple(_runtime(row, name, browser, adapters) for row in RUNTIMES if not row.tf32),
        tools=(*_exporter_packages(), *_flow_packages(), browser, *_page_packages(), _node()),
    )


def render(found: MachineReport, console: "Console") -> None:
    """Prints the machine, the runtimes, the tools, and then a line for each thing that is missing."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    console.print(Text(found.system))
    for adapter in found.adapters:
        kind = "software " if adapter.software else ""
        words = f"{kind}{adapter.name}" if adapter.name else f"none: {adapter.problem}"
        console.print(Text.assemble((f"{adapter.interface:<7}", "bold"), one_line(words)))
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
    for problem, names in _problems(found).items():
        console.print(Text.assemble(("missing  ", "yellow"), f"{', '.join(names)}: {problem}"), soft_wrap=True)
    if not _problems(found):
        console.print(Text("Everything is here.", style="green"))


def _problems(found: MachineReport) -> dict[str, list[str]]:
    """Groups what is missing with the names of all that lack it."""
    lacking = [(runtime.problem, f"{runtime.name} on {runtime.device}") for runtime in found.runtimes]
    lacking += [(tool.remedy, tool.name) for tool in found.tools]
    problems: dict[str, list[str]] = {}
    for problem, name in lacking:
        if problem:
            problems.setdefault(problem, []).append(name)
    return problems


def _mark(*, ready: bool) -> str:
    return "[green]yes[/]" if ready else "[yellow]no[/]"


def _runtime(row: RuntimeRow, name: str, browser: Tool, adapters: Sequence[GpuAdapter]) -> RuntimeState:
    gpu = next((adapter for adapter in adapters if adapter.interface == _interface(row)), None)
    try:
        problem = missing(row) or (browser.remedy if row.browser else "") or (gpu.problem if gpu else "")
    except BadInput as error:  # PARITYGATE_CHROMIUM names nothing that runs
        problem = str(error)
    if gpu:  # its name is printed above
        adapter = f"software {gpu.interface}" if gpu.software else gpu.interface
    else:
        adapter = f"{browser.name} {browser.version}" if row.browser else name
    return RuntimeState(
        name=row.name,
        format=row.format,
        device=row.device,
        required=row.required,
        ready=not problem,
        version=(package_version(row.npm[0]) or "") if row.browser else installed(row.distribution),
        adapter="" if problem else adapter,
        problem=problem or "",
    )


def _interface(row: RuntimeRow) -> str:
    """Names the interface through which a row reaches its GPU; empty for a row on the CPU."""
    return {"processor": "", "vulkan": "Vulkan", "cuda": "CUDA", "browser": row.adapter}[row.accelerator]


def _exporter_packages() -> list[Tool]:
    """Lists the converters' packages, each with the formats that need it."""
    serves: dict[str, list[str]] = {}
    for row in EXPORTERS:
        for package in row.toolchain:
            formats = serves.setdefault(package, [])
            if row.format not in formats:
                formats.append(row.format)
    tools = [_package(name, f"export to {', '.join(formats)}", extra="export") for name, formats in serves.items()]
    # No extra contains this package: pip cannot resolve its requirements (see `flows.setup.converter`).
    return [replace(t, remedy=setup_command()) if t.name == "tensorflowjs" and t.remedy else t for t in tools]


def _flow_packages() -> list[Tool]:
    return [_package("prefect", "flows; --no-prefect does without", extra="flow")]


def _page_packages() -> list[Tool]:
    """Lists the npm packages of the pages."""
    found = package_versions()
    return [
        Tool(
            name=name,
            version=found.get(name, ""),
            serves="browser cells",
            remedy="" if name in found else PACKAGES_HINT,
        )
        for name in package_names()
    ]


def _package(name: str, serves: str, *, extra: str) -> Tool:
    found = installed(name)
    return Tool(name=name, version=found, serves=serves, remedy="" if found else remedy(extra))


def _chromium() -> Tool:
    try:
        path = find_chromium()
    except BadInput as error:
        return Tool(name="Chromium", version="", serves="browser cells", remedy=str(error))
    if path is None:
        return Tool(name="Chromium", version="", serves="browser cells", remedy=CHROMIUM_HINT)
    answer = _ask([str(path), "--version"])
    return Tool(
        name="Chromium",
        version=answer.split(" built")[0].removeprefix("Chromium "),
        serves="browser cells",
        where=str(path),
        remedy="" if answer else f"{path} cannot be run; {CHROMIUM_HINT}",
    )


def _node() -> Tool:
    path = shutil.which("node")
    remedy = "" if path else "apt-get install nodejs npm (Node 20; only set-up needs it)"
    answer = _ask([path, "--version"]) if path else ""
    return Tool(
        name="Node", version=answer.removeprefix("v"), serves="browser packages", where=path or "", remedy=remedy
    )


def _adapters(browser: Tool) -> tuple[GpuAdapter, ...]:
    """Lists the GPUs by every interface that a runtime uses. Drivers crash, so each is asked in a child process."""
    found = [GpuAdapter(interface="CUDA", name=f"{card.name}, driver {card.driver}") for card in cards()]
    found = found or [GpuAdapter(interface="CUDA", problem=no_card())]
    with (
        tempfile.TemporaryDirectory(prefix="paritygate-doctor-") as scratch,
        Workers(Path(scratch), Path(scratch)) as workers,
        BrowserHost() as host,
        ThreadPoolExecutor(1) as pool,
    ):
        vulkan = pool.submit(_native, workers)
        if browser.remedy:
            found += [GpuAdapter(interface=name, problem=browser.remedy) for name in _IN_PAGES]
        else:
            found += _in_pages(workers, host)
        return (found[0], *vulkan.result(), *found[1:])


def _native(workers: Workers) -> list[GpuAdapter]:
    return _probe(workers, probe_native, ProbeRequest(), ("Vulkan",))


def _in_pages(workers: Workers, host: BrowserHost) -> list[GpuAdapter]:
    try:
        endpoint = host.endpoint()
    except Broken as error:
        return [GpuAdapter(interface=name, problem=error.message) for name in _IN_PAGES]
    return _probe(workers, probe_browser, ProbeRequest(endpoint=endpoint), _IN_PAGES)


def _probe(
    workers: Workers,
    probe: Callable[[ProbeRequest], tuple[GpuAdapter, ...]],
    request: ProbeRequest,
    interfaces: Sequence[str],
) -> list[GpuAdapter]:
    limits = Limits(seconds=_PROBE_SECONDS)
    outcome = workers.run(Job(name=probe.__name__, function=probe, request=request, limits=limits))
    if outcome.status != "ok":
        return [GpuAdapter(interface=name, problem=f"{outcome.status}: {outcome.message}") for name in interfaces]
    return list(outcome.unwrap())


def _ask(command: list[str]) -> str:
    """Returns the program's output on one line; empty when it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return one_line(done.stdout) if done.returncode == 0 else ""
