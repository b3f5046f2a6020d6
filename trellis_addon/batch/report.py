"""What has become of a folder of pictures, for people and for programs: report.html, report.csv and report.json."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.errors import OutputError
from ..core.messages import reason_of
from ..core.output import put_in_place
from ..core.version import VERSION
from ..images import readable
from .rows import Row

FILES = ("report.html", "report.csv", "report.json")
COLUMNS = (
    "picture", "name", "state", "seconds", "triangles", "engine", "seeds", "cost_usd", "worker", "task_uuid",
    "files", "blend", "fingerprint", "contract", "message",
)  # fmt: skip
_PICTURE = 128  # pixels of the pictures in the table
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would take for one at the beginning of a cell

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
table { border-collapse: collapse } th, td { padding: 4px 10px; text-align: left; vertical-align: middle }
th { border-bottom: 2px solid #888 } td { border-bottom: 1px solid #ddd } td.number { text-align: right }
img { width: 64px; height: 64px; object-fit: contain; background: #eee } .failed, .missing { color: #a00 }
@media (prefers-color-scheme: dark) { body { background: #222; color: #ddd } td { border-color: #444 }
img { background: #333 } .failed, .missing { color: #f88 } }
"""


def write_report(folder: Path, pictures: Path, rows: Sequence[Row]) -> Path:
    """Write the three files into `folder` and return the path of the HTML; raises `OutputError`."""
    facts = [facts_of(row) for row in rows]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        texts = (_html(pictures, rows, facts), _csv(facts), _json(pictures, facts))
        # what no text can hold of a name stands there by its number
        files = {
            folder / name: text.encode("utf-8", "backslashreplace") for name, text in zip(FILES, texts, strict=True)
        }
        put_in_place({**files})
    except OSError as error:
        raise OutputError(
            "The report cannot be written to {folder}: {reason}.", folder=folder, reason=reason_of(error)
        ) from error
    return folder / FILES[0]


def facts_of(row: Row) -> dict[str, Any]:
    """A row as plain data: the values of `COLUMNS`."""
    told = [asset.provenance for asset in row.assets]
    costs = [cost for each in told if isinstance(cost := each.get("cost_usd"), (int, float))]
    values = (
        [readable(row.image.name), *(readable(path.name) for path in row.views.values())],
        row.assets[0].name if row.assets else row.name,
        row.state,
        round(row.seconds, 2),
        row.triangles,
        row.assets[0].engine if row.assets else "",
        [asset.seed for asset in row.assets],
        sum(costs) if costs else None,
        row.worker,
        str(told[0].get("task_uuid", "")) if told else "",
        [readable(str(asset.path)) for asset in row.assets],
        readable(str(row.part)) if row.part else "",
        row.fingerprint,
        None if row.broken is None else [f"{finding.rule}: {finding.sentence}" for finding in row.broken],
        str(row.message),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _json(pictures: Path, facts: list[dict[str, Any]]) -> str:
    states = sorted({each["state"] for each in facts})
    counts = {state or "not begun": sum(each["state"] == state for each in facts) for state in states}
    told = {"folder": readable(str(pictures)), "version": VERSION, "pictures": len(facts), "states": counts}
    return json.dumps({**told, "rows": facts}, indent=2)


def _csv(facts: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(each[column]) for column in COLUMNS] for each in facts)
    return "\ufeff" + text.getvalue()  # the mark tells Excel that it is UTF-8


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _html(pictures: Path, rows: Sequence[Row], facts: list[dict[str, Any]]) -> str:
    good = sum(row.is_good for row in rows)
    title = html.escape(readable(pictures.name or str(pictures)))
    heads = ("", "picture", "state", "seconds", "triangles", "engine", "seed", "US dollars", "worker", "")
    lines = "\n".join(_line(row, each) for row, each in zip(rows, facts, strict=True))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n<style>{_STYLE}</style>\n'
        f"<h1>{title}</h1>\n<p>{good} of {len(rows)} pictures are assets.</p>\n<table>\n"
        f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>\n{lines}\n</table>\n</html>\n"
    )


def _line(row: Row, facts: dict[str, Any]) -> str:
    source = _data_uri(row)
    picture = f'<img src="{source}" alt="">' if source else ""
    problems = [facts["message"], *(facts["contract"] or [])]
    numbers = (f"{row.seconds:.1f}" if row.seconds else "", row.triangles or "")
    cells = [
        f"<td>{picture}</td>",
        f"<td>{html.escape(', '.join(facts['picture']))}</td>",
        f'<td class="{html.escape(row.state)}">{html.escape(row.state)}</td>',
        *(f'<td class="number">{number}</td>' for number in numbers),
        f"<td>{html.escape(facts['engine'])}</td>",
        f"<td>{html.escape(', '.join(map(str, facts['seeds'])))}</td>",
        f'<td class="number">{"" if facts["cost_usd"] is None else format(facts["cost_usd"], ".4f")}</td>',
        f"<td>{html.escape(row.worker)}</td>",
        f"<td>{html.escape(' '.join(filter(None, problems)))}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _data_uri(row: Row) -> str:
    """A small picture that stands in the file itself; empty where none can be read."""
    from PIL import Image

    for path in filter(None, (row.thumbnail, row.image)):
        try:
            with Image.open(path) as image:
                image.draft("RGB", (2 * _PICTURE, 2 * _PICTURE))  # a JPEG is read small at once
                small = image.convert("RGBA")
            small.thumbnail((_PICTURE, _PICTURE))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=80)
        return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return ""
