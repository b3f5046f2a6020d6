"""The pages of the manual in the zip: nothing leads nowhere, and nothing asks the network."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

pytestmark = pytest.mark.checkout


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    pytest.importorskip("markdown")
    from make_manual import manual_pages

    made = manual_pages()
    assert sum(map(len, made.values())) < 2_000_000, "the zip is to stay small"
    texts = {name: data.decode() for name, data in made.items() if name.endswith(".html")}
    return {**dict.fromkeys(made, ""), **texts}


def test_every_link_and_picture_is_there(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        for target in re.findall(r'(?:href|src)="([^"]+)"', text):
            if target.startswith("https://"):
                continue
            page, _, anchor = target.partition("#")
            other = f"manual/{page}" if page else name
            assert other in pages, f"{name}: {target}"
            assert not anchor or f'id="{anchor}"' in pages[other], f"{name}: {target}"


def test_no_page_loads_anything_from_elsewhere(pages: dict[str, str]) -> None:
    for text in pages.values():
        assert not re.search(r'<(?:img|script|link|iframe)[^>]*(?:src|href)="(?:https?:)?//', text)


def test_each_page_of_the_documentation_is_one_or_for_developers() -> None:
    from make_manual import PAGES

    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - set(PAGES) <= {"architecture"}
