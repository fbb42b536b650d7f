"""Draws the README's picture: the end of `paritygate release`, from a real release.

In: a release directory. Out: an SVG without any address in it. `python -m tools.picture RELEASE_DIR docs/release.svg`
"""

import re
import sys
from pathlib import Path

from rich.console import Console

from validators.release.integrity import manifest_digest
from validators.release.manifest import load
from validators.report import terminal

_WIDTH = 100


def main(release: Path, picture: Path) -> None:
    """Draws the release's verdict as it stands in a terminal of 100 columns."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=_WIDTH, force_terminal=True, color_system="truecolor", file=nowhere)
        terminal.render(load(release), console, release_dir=Path(release.name), digest=manifest_digest(release))
    svg = console.export_svg(title="paritygate release digits.keras")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # fonts from a web address
    picture.write_text(svg.replace("Fira Code", "DejaVu Sans Mono"), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
