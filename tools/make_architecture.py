"""Draw the floors of the house, into docs/architecture.svg: from the imports in the sources, and the order that
pyproject.toml demands of them. Each floor says how many lines it has; the lines at its side are imports.

    python tools/make_architecture.py
"""

from __future__ import annotations

import html
import sys
import tomllib
from collections import Counter
from pathlib import Path

from environments import ROOT
from import_graph import path_of, read_graph

TARGET = ROOT / "docs" / "architecture.svg"
LIBRARY = "trellis_addon"
WIDTH, HEIGHT, GAP = 380, 26, 8  # pixels of a floor
LEFT, TOP, ROOM = 30, 20, 300  # where the first one begins; how far the lines may reach out at its side
STYLE = (
    "text{font:13px sans-serif;fill:#24292f}.n{fill:#6e7781;text-anchor:end}"
    ".f{fill:#f6f8fa;stroke:#8c959f}.b{fill:#fff1e5;stroke:#bc4c00}.l{fill:none;stroke:#8c959f;stroke-opacity:.55}"
)


def main() -> int:
    TARGET.write_text(picture(ROOT), encoding="utf-8")
    return 0


def floors(root: Path) -> list[list[str]]:
    """The packages from the top down, those beside each other in one list, as the contracts have them."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extension, library = (one["layers"] for one in project["tool"]["importlinter"]["contracts"][:2])
    above = [[part.strip() for part in layer.split("|")] for layer in extension if layer != LIBRARY]
    return [*above, *[[f"{LIBRARY}.{part.strip()}" for part in layer.split("|")] for layer in library]]


def picture(root: Path) -> str:
    """The SVG."""
    graph, order = read_graph(root, named=False), floors(root)
    home = {name: number for number, floor in enumerate(order) for name in floor}

    def floor_of(module: str) -> int | None:
        parts = module.split(".")
        return home.get(".".join(parts[:2]) if parts[0] == LIBRARY else parts[0])

    lines: Counter[int] = Counter()
    arrows: Counter[tuple[int, int]] = Counter()
    for module, imported in graph.items():
        start = floor_of(module)
        if start is None:
            continue
        lines[start] += len((root / path_of(module, root)).read_text(encoding="utf-8").splitlines())
        for other in imported:
            end = floor_of(other)
            if end is not None and end != start:
                arrows[start, end] += 1
    top = [TOP + number * (HEIGHT + GAP) for number in range(len(order))]
    drawn = []
    for (start, end), count in sorted(arrows.items()):
        y0, y1, out = (
            top[start] + HEIGHT / 2,
            top[end] + HEIGHT / 2,
            LEFT + WIDTH + 14 + ROOM * (end - start) / len(order),
        )
        width = min(1 + count / 12, 5)
        bow = f"M{LEFT + WIDTH} {y0:.0f}C{out:.0f} {y0:.0f} {out:.0f} {y1:.0f} {LEFT + WIDTH} {y1:.0f}"
        drawn.append(f'<path class="l" stroke-width="{width:.1f}" d="{bow}"/>')
    for number, floor in enumerate(order):
        names = "   ".join(name.removeprefix(f"{LIBRARY}.") + "/" * is_folder(root, name) for name in floor)
        kind = "b" if number < len(order) and any("." not in name or name.endswith(".scene") for name in floor) else "f"
        drawn.append(f'<rect class="{kind}" x="{LEFT}" y="{top[number]}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>')
        middle = top[number] + HEIGHT / 2 + 5
        drawn.append(f'<text x="{LEFT + 10}" y="{middle:.0f}">{html.escape(names)}</text>')
        drawn.append(f'<text class="n" x="{LEFT + WIDTH - 10}" y="{middle:.0f}">{round(lines[number], -2):,}</text>')
    width, height = LEFT + WIDTH + ROOM, top[-1] + HEIGHT + TOP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    ground = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", ground, *drawn, "</svg>", ""])


def is_folder(root: Path, name: str) -> bool:
    return (root / name.replace(".", "/")).is_dir()


if __name__ == "__main__":
    sys.exit(main())
