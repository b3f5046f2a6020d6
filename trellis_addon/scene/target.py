"""Where a finished asset belongs: told at the start, because the artist goes on working."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, fields

import bpy

from .place import placeholder, waiting
from .place.showing import open_home
from .rules.guards import require_own

SESSION = uuid.uuid4().hex


@dataclass(frozen=True)
class Target:
    """A place in a scene of a file, and the card that stands there.

    With a card it is the card that counts, wherever it is by then, or the object that waits for the job's result.
    Without one (a script's job, one of the history): the scene and the location. `session` is this run of Blender: an
    unsaved file has no other name, and the next one is another file. `collection` is the one to come into, made when it
    is needed; empty is the scene's own. `turn` is how far it is turned about Z, in radians.
    With a `catalog` the asset is marked and filed there; `library` is the folder of the asset library that it is
    saved to besides, empty is none but the file it is in.
    `sources` are the objects that it is made of, by their session's numbers (`ID.session_uid`): it comes in their place
    and is selected, if these were and nothing else has been since; with `hides_sources` they are hidden then.
    With `levels`, a way to arrange them, it comes as the levels of detail of the one source instead, which stays.
    """

    scene_name: str
    file: str
    location: tuple[float, float, float]
    height: float | None
    session: str = ""
    card: str = ""
    collection: str = ""
    catalog: str = ""
    library: str = ""
    turn: float = 0.0
    sources: tuple[int, ...] = ()
    hides_sources: bool = False
    levels: str = ""

    def to_json(self) -> str:
        """What is as it is by default is left out: 0.1.0 understands no key that it does not know."""
        defaults = {field.name: field.default for field in fields(self)}
        return json.dumps({name: value for name, value in asdict(self).items() if value != defaults[name]})

    @classmethod
    def from_json(cls, text: str) -> Target | None:
        try:
            told = json.loads(text)
            known = {field.name for field in fields(cls)}  # another version may have written others
            values = {name: value for name, value in told.items() if name in known}
            more = {name: tuple(values[name]) for name in ("location", "sources") if name in values}
            return cls(**{**values, **more})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    @property
    def scene(self) -> bpy.types.Scene | None:
        """The scene, this file's own and not one of that name that is linked into it; None where it is gone."""
        return bpy.data.scenes.get((self.scene_name, None))

    def parent_in(self, scene: bpy.types.Scene) -> bpy.types.Collection:
        """The collection of a scene that assets come into, such that they are seen; `InputError` in a linked scene."""
        return open_home(self.wanted_in(scene), scene)

    def wanted_in(self, scene: bpy.types.Scene) -> bpy.types.Collection:
        """The collection that was asked for, made where there is none; it may be hidden, or locked."""
        require_own(scene)
        if not self.collection:
            return scene.collection
        found = next((c for c in scene.collection.children_recursive if c.name == self.collection), None)
        if found is None:
            found = bpy.data.collections.get(self.collection)  # one of another scene
            if found is None or not found.is_editable:
                found = bpy.data.collections.new(self.collection)
            scene.collection.children.link(found)
        return found

    def stand_card(self, label: str) -> None:
        """Stand the job's card where it belongs; its scene must be in the file that is open."""
        if (scene := self.scene) is not None:
            home = self.parent_in(scene)
            placeholder.stand(self.card, label, home, self.location, self.height or 1.0, self.turn)

    @property
    def has_scene(self) -> bool:
        """Whether its scene is in the file that is open now, whatever stands there."""
        is_session = self.session == SESSION if not self.file else True
        return is_session and bpy.data.filepath == self.file and self.scene is not None

    @property
    def is_open(self) -> bool:
        """Whether its place is in the file that is open now."""
        if self.card:
            return bool(placeholder.find(self.card) or waiting.find(self.card))
        return self.has_scene
