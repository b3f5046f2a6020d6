"""What is made into a .blend: imported, held against a contract, laid out, saved. Needs `bpy`."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import OutputError, TrellisError
from ..core.messages import message, message_of
from .rows import Row

if TYPE_CHECKING:
    from ..contract.contract import Contract

log = logging.getLogger(__name__)


class OpenBlend:
    """A .blend file that is opened, or begun, to be added to."""

    def __init__(self, output: Path, *, height: float | None, contract: Contract | None = None, mend: bool = False):
        from .. import scene
        from ..scene import files

        self._scene, self._files = scene, files
        self.output = output
        self._height, self._contract, self._mend = height, contract, mend
        self._placed: list[tuple[Row, list[Any]]] = []
        self._opened = files.stamp_of(output)
        if self._opened is not None:
            files.open_file(output)
        else:
            files.new_file()
        files.use_own_scene()

    @property
    def fingerprints(self) -> set[str]:
        """Of the pictures whose assets stand in it."""
        return self._scene.fingerprints()

    def add(self, row: Row, *, preview: Path | None = None, catalog_id: str = "") -> None:
        """Import a row's assets, each marked, and hold them against the contract; what goes wrong is the row's.

        `preview` is a picture for the asset browser, in place of a rendered one, `catalog_id` the catalog to be in.
        """
        started = time.monotonic()
        made: list[Any] = []
        self._placed.append((row, made))
        try:
            for asset in row.assets:
                made.append(self._scene.import_asset(asset, height=self._height))
            row.triangles = sum(len(obj.data.polygons) for obj in made)
            for obj in made:
                self._scene.mark_asset(obj, preview=preview if preview and preview.is_file() else None)
                if catalog_id:
                    obj.asset_data.catalog_id = catalog_id
        except Exception as error:
            row.fail(error)
        row.seconds += time.monotonic() - started
        if self._contract is not None and row.is_good:
            self._hold(row, made, self._contract)

    def _hold(self, row: Row, objects: list[Any], contract: Contract) -> None:
        """Against the contract; whatever goes wrong with that, the asset is there."""
        try:
            look = self._scene.mend if self._mend else self._scene.check_contract
            row.broken = tuple(finding for obj in objects for finding in look(obj, contract))
            row.triangles = sum(len(obj.data.polygons) for obj in objects)
        except Exception as error:
            log.exception("%s could not be held against the contract", row.image.name)
            row.message = message("It could not be held against the contract: {reason}", reason=message_of(error))

    def save(self, order: list[Row]) -> None:
        """Lay out what was added, in the order of the rows, and save the file, if anything was added."""
        placed = {id(row): objects for row, objects in self._placed}
        objects = [obj for row in order for obj in placed.get(id(row), [])]
        if not objects:
            return
        try:
            self._scene.lay_out_grid(objects)
        except Exception:  # what is in the file already may be of any kind, and is no reason to lose what was made
            log.exception("The assets could not be laid out in a grid")
        if self._files.stamp_of(self.output) != self._opened:
            raise TrellisError(
                "{output} was saved by another program meanwhile, and is left as it is; start the batch "
                "again: what was made is kept, and comes in then.",
                output=self.output,
            )
        try:
            self._files.save_file(self.output)
        except TrellisError as error:
            raise OutputError(
                "{reason} What was made is kept: make room, and run the same again.", reason=error
            ) from error
        self._opened = self._files.stamp_of(self.output)
