"""The manual as pages that any browser shows, for the zip: made of docs/*.md, with smaller pictures.

    python tools/make_manual.py FOLDER      writes the pages there, to be looked at

The extension opens them by *Manual*, without any network. Needs markdown and Pillow.
"""

from __future__ import annotations

import io
import re
import sys
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FOLDER = "manual"  # in the zip
FIRST = "manual"  # the page that is opened
# In the order of the line that leads from page to page
PAGES = {
    "manual": "The manual",
    "help": "Help",
    "settings": "Settings",
    "commands": "Commands",
    "local": "Local GPU",
    "systems": "Your system",
    "assets": "Assets",
    "contracts": "Contracts and exports",
    "scripting": "Scripts",
    "service": "A service of your own",
    "cluster": "Several machines",
    "agents": "Assistants",
}
WIDEST = 1000  # pixels of a picture
STYLE = """
:root { color-scheme: light dark; }
body { max-width: 50rem; margin: 0 auto; padding: 1rem; font: 1rem/1.55 system-ui, sans-serif; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding-bottom: .75rem; border-bottom: 1px solid #8886; }
nav [aria-current] { font-weight: 600; text-decoration: none; color: inherit; }
img { max-width: 100%; height: auto; border-radius: .25rem; }
code { font-family: ui-monospace, monospace; font-size: .9em; background: #8882; border-radius: .2rem; }
pre { overflow-x: auto; padding: .75rem; background: #8882; border-radius: .25rem; }
pre code { background: none; }
table { display: block; overflow-x: auto; border-collapse: collapse; }
th, td { padding: .25rem .6rem; border: 1px solid #8886; text-align: left; vertical-align: top; }
"""


@cache
def manual_pages() -> dict[str, bytes]:
    """Path in the zip -> contents. The same sources always give the same bytes."""
    found: dict[str, bytes] = {}
    pictures: set[str] = set()
    for name in PAGES:
        text, shown = _page(name)
        pictures |= shown
        found[f"{FOLDER}/{name}.html"] = text.encode()
    for picture in sorted(pictures):
        found[f"{FOLDER}/{_smaller_name(picture)}"] = _smaller(DOCS / picture)
    return found


def _page(name: str) -> tuple[str, set[str]]:
    """A page, and the pictures that it shows, by their paths in docs/."""
    try:
        import markdown
    except ImportError as error:
        raise SystemExit("The manual's pages need the package markdown: python -m pip install markdown") from error

    text = _without_sources((DOCS / f"{name}.md").read_text(encoding="utf-8"))
    body = markdown.markdown(text, extensions=["tables", "fenced_code", "toc"], output_format="html")
    pictures = set(re.findall(r'<img [^>]*src="([^"]+)"', body))
    for picture in pictures:
        body = body.replace(f'src="{picture}"', f'src="{_smaller_name(picture)}" loading="lazy"')
    body = re.sub(r'href="(\w+)\.md(#[\w-]+)?"', r'href="\1.html\2"', body)
    links = "\n".join(
        f'<a href="{page}.html"{" aria-current=page" if page == name else ""}>{escape(title)}</a>'
        for page, title in PAGES.items()
    )
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    title = f"<title>{escape(PAGES[name])} - TRELLIS.2</title>"
    return f'<!doctype html>\n<html lang="en">\n{head}\n{title}\n<nav>\n{links}\n</nav>\n{body}\n</html>\n', pictures


def _without_sources(text: str) -> str:
    """Without links to what only a checkout has: their words stay."""

    def keep(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        page = re.fullmatch(r"(\w+)\.md(#[\w-]+)?", target)
        inside = target.startswith(("#", "https://", "http://")) or (page and page[1] in PAGES)
        return found[0] if inside else words

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", keep, text)


def _smaller_name(picture: str) -> str:
    path = Path(picture)
    return path.as_posix() if path.suffix == ".svg" else f"pictures/{path.stem}.webp"


def _smaller(path: Path) -> bytes:
    from PIL import Image

    if path.suffix == ".svg":
        return path.read_bytes()
    with Image.open(path) as image:
        image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        written = io.BytesIO()
        image.convert("RGB").save(written, "WEBP", quality=75, method=4)
    return written.getvalue()


if __name__ == "__main__":
    for name, data in manual_pages().items():
        path = Path(sys.argv[1], name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
