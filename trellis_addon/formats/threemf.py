"""3MF, the file of 3D printing: closed meshes in millimetres (3MF Core Specification 1.3)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError

_TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>
</Types>
"""
_RELATIONS = """<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Target="/3D/3dmodel.model" Id="rel0" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>
</Relationships>
"""
_CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip knows: the same mesh gives the same bytes


def write_3mf(meshes: Mapping[str, tuple[NDArray[np.float32], NDArray[np.int32]]]) -> bytes:
    """A file of these meshes by name: vertices (V, 3) in millimetres, Z up, and triangles (F, 3), wound outwards.

    Raises `InputError` where there is no triangle.
    """
    objects, items = [], []
    for number, (name, (vertices, faces)) in enumerate(meshes.items(), 1):
        if not len(faces):
            raise InputError('"{name}" has no surface; choose a mesh object.', name=name)
        points = "\n".join(f'<vertex x="{x:.6g}" y="{y:.6g}" z="{z:.6g}"/>' for x, y, z in vertices.tolist())
        sides = "\n".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in faces.tolist())
        objects.append(
            f'<object id="{number}" type="model" name={quoteattr(name)}><mesh>\n'
            f"<vertices>\n{points}\n</vertices>\n<triangles>\n{sides}\n</triangles>\n</mesh></object>"
        )
        items.append(f'<item objectid="{number}"/>')
    model = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<model unit="millimeter" xml:lang="en-US" xmlns="{_CORE}">\n'
        f"<resources>\n{chr(10).join(objects)}\n</resources>\n<build>{''.join(items)}</build>\n</model>\n"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in (("[Content_Types].xml", _TYPES), ("_rels/.rels", _RELATIONS), ("3D/3dmodel.model", model)):
            archive.writestr(zipfile.ZipInfo(name, _TIME), text.encode("utf-8"), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
