"""The README's matrix of formats, runtimes and devices, made from the registries.

In: `exporters.formats.registry` and `validators.runtimes.registry`. Out: a Markdown table; `python -m tools.matrix`
writes it between the README's markers, and a test fails when the two differ.
"""

from pathlib import Path

from exporters.formats.registry import EXPORTERS, FORMATS, STATIC_EXPORTERS
from validators.contract import Device
from validators.runtimes.registry import ORIGINAL, RUNTIMES

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- matrix: make matrix -->", "<!-- /matrix -->"


def table() -> str:
    """One row for every format: its variants, and where they run, by device; the original first."""
    devices: tuple[Device, ...] = tuple(dict.fromkeys(row.device for row in RUNTIMES))
    lines = [
        f"| format | variants | {' | '.join(device.upper() for device in devices)} |",
        f"| --- | --- | {' | '.join('---' for _ in devices)} |",
        f"| `{ORIGINAL}` | | Keras: the reference | {_shown(ORIGINAL, 'gpu')} |",
    ]
    for name in FORMATS:
        variants = ", ".join(f"`{row.variant}`" for row in (*EXPORTERS, *STATIC_EXPORTERS) if row.format == name)
        cells = (_shown(name, device) for device in devices)
        lines.append(f"| `{name}` | {variants} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(format_: str, device: Device) -> str:
    """The runtimes of a format on a device; those that allow TF32 are the same ones a second time."""
    rows = (row for row in RUNTIMES if (row.format, row.device) == (format_, device) and not row.tf32)
    return "; ".join(row.shown for row in rows)


def written(readme: str) -> str:
    """The README's text with the table as it should be."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(written(README.read_text("utf-8")), "utf-8")
