"""The README's matrix of formats, runtimes and devices, made from the registries.

In: `exporters.registry` and `validators.registry`. Out: a Markdown table; `python -m tools.matrix` writes it between
the README's markers, and a test fails when the two differ.
"""

from pathlib import Path

from exporters.registry import EXPORTERS, FORMATS
from validators.registry import RUNTIMES

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- matrix: make matrix -->", "<!-- /matrix -->"


def table() -> str:
    """One row for every format: its variants, and where they run, by device."""
    devices = tuple(dict.fromkeys(row.device for row in RUNTIMES))
    lines = [
        f"| format | variants | {' | '.join(device.upper() for device in devices)} |",
        f"| --- | --- | {' | '.join('---' for _ in devices)} |",
    ]
    for name in FORMATS:
        variants = ", ".join(f"`{row.variant}`" for row in EXPORTERS if row.format == name)
        cells = [
            "; ".join(row.shown for row in RUNTIMES if (row.format, row.device) == (name, device)) for device in devices
        ]
        lines.append(f"| `{name}` | {variants} | {' | '.join(cells)} |")
    return "\n".join(lines)


def written(readme: str) -> str:
    """The README's text with the table as it should be."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(written(README.read_text("utf-8")), "utf-8")
