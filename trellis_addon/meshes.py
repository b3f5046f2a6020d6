"""The way from a mesh that is there, and a picture, to the same mesh with a texture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .api import PreparedTask, Source, make, prepare_task
from .client.backends import Backend
from .core.errors import FieldError, InputError
from .core.files import read_bytes
from .core.given import path_of
from .core.messages import message, reason_of
from .core.progress import ProgressLike
from .core.sizes import size_words
from .images import clean_name
from .jobs.job import Asset
from .jobs.store import JobStore
from .task.settings import BY_NAME, Settings
from .task.task import no_mesh_there

if TYPE_CHECKING:
    from .formats.glb.pieces import Pieces
    from .images.preparing import Subject

MOST_BYTES = 40 * 2**20  # of a mesh: as text, and with the picture, it must fit into a request

Mesh = str | bytes | os.PathLike[str] | Asset


def texture(
    mesh: Mesh,
    image: Source,
    *,
    facing: str | float = "front",
    uvs: str = "auto",
    views: Mapping[Any, Source] | None = None,
    backend: str | Backend = "draft",
    model: str | None = None,
    name: str = "",
    subject: Subject | None = None,
    output: str | os.PathLike[str] | None = None,
    key: str = "",
    settings: Settings | Mapping[str, Any] | None = None,
    progress: ProgressLike | None = None,
    allow_network: bool = True,
    store: JobStore | None = None,
    **named_settings: Any,
) -> Asset:
    """Give a mesh the look of a picture; blocks until it is there. The file that it comes from stays as it is.

    `mesh`: the path or the bytes of a GLB, or an asset. Its nodes, names, transforms, skeletons and texture coordinates
    are kept; all of its parts are textured as one. `facing` says where the picture shows it from, in the names of
    Blender's views ("front" is from -Y, "right" from +X) or in degrees, counter-clockwise from above; `views` are
    further pictures, named likewise. `uvs`: "auto" keeps the texture coordinates that can hold a texture, and makes new
    ones where there are none or they lie on each other; "keep" keeps all there are, "new" none. The rest is as for
    `generate`. The draft projects the picture onto the mesh.

    Raises `FieldError`, `InputError`, `DamagedFileError` for the mesh, `ImageError` for the picture, all before
    anything is sent, and as `generate` does after; the remote API textures no mesh.
    """
    wished = Settings(settings or {}).replace(**named_settings)
    wished = wished.replace(**_placing(facing, uvs))
    where = Backend.of(backend, key, allow_network)

    def prepare(store: JobStore) -> tuple[PreparedTask, Backend]:
        return prepare_texture(mesh, image, where, wished, model=model, name=name, subject=subject, views=views), where

    return make(prepare, store, progress, output, results=wished.value("number_results"), source=_file_of(mesh))


def _file_of(mesh: Mesh) -> Path | None:
    if isinstance(mesh, (bytes, bytearray, memoryview)):
        return None
    return mesh.path if isinstance(mesh, Asset) else path_of(mesh, "mesh")


def prepare_texture(
    mesh: Mesh,
    image: Source,
    backend: Backend,
    settings: Settings,
    *,
    model: str | None = None,
    name: str = "",
    uuid: str = "",
    subject: Subject | None = None,
    views: Mapping[Any, Source] | None = None,
) -> PreparedTask:
    """Everything checked, nothing sent; raises as `texture` does."""
    if backend.is_remote:
        raise no_mesh_there()
    data, own_name = read_mesh(mesh)
    return prepare_task(
        image, backend, settings,
        model=model, name=name or own_name, uuid=uuid, subject=subject, views=views, mesh=data,
    )  # fmt: skip


def read_mesh(mesh: Mesh) -> tuple[bytes, str]:
    """The GLB to send, without the pictures that will go, and a name; `InputError` or `DamagedFileError` for one that
    cannot be textured."""
    from .formats.glb.dress import without_pictures
    from .formats.glb.pieces import read_pieces

    name = ""
    if isinstance(mesh, Asset):
        mesh, name = mesh.path, mesh.name
    if isinstance(mesh, (bytes, bytearray, memoryview)):
        data = bytes(mesh)
    else:
        path = path_of(mesh, "mesh")
        name = name or clean_name(path.stem)
        try:
            data = read_bytes(path)
        except (OSError, ValueError) as error:
            raise InputError("{path} cannot be read: {reason}.", path=path, reason=reason_of(error)) from error
    if not data.startswith(b"glTF"):
        rule = message("give a GLB; other kinds of meshes are exported as one first")
        raise FieldError("inputs.mesh", name, rule, code="invalidMesh")
    _demand_surface(read_pieces(data))
    data = without_pictures(data)
    if len(data) > MOST_BYTES:
        raise InputError(
            "The mesh takes {size}, and {most} can be sent; make it lighter first, or export it without what is not "
            "shown.",
            size=size_words(len(data)),
            most=size_words(MOST_BYTES),
        )
    return data, name or "mesh"


def _demand_surface(found: Pieces) -> None:
    """Raise `InputError` where there is nothing that a picture could lie on: all triangles are lines or points."""
    import numpy as np

    corners = found.points[found.faces]
    if not np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).any():
        raise InputError("The mesh has no surface: its triangles are lines or points, or it is scaled to nothing.")


def _placing(facing: str | float, uvs: str) -> dict[str, Any]:
    """`facing` and `uvs` as settings; where they are as they are anyway, those among the settings hold."""
    given = {"facing": str(facing), "uvs": uvs}
    return {name: value for name, value in given.items() if value != BY_NAME[name].default}
