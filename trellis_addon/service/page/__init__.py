"""The page at "/": the service for whoever has a browser and no Blender.

routes     the addresses, and what their answers forbid the browser
gallery    tasks as the page sees them
events     what changes, as it changes
table      the settings by name, as the page's fields
words      the page's sentences, and their translations

The files themselves are in site/: HTML, CSS and JavaScript modules, as they are. In built/ is what
`tools/page_parts.py` has put there: model-viewer, and the translations for an installation without them. The page asks
for tasks at `/v1` as everybody does; what is here besides is for looking. It keeps the token in memory alone.
"""

from __future__ import annotations

from pathlib import Path

SITE = Path(__file__).with_name("site")
BUILT = Path(__file__).with_name("built")


def is_here() -> bool:
    """Whether this installation has the files: Blender's zip does without them."""
    return (SITE / "index.html").is_file()
