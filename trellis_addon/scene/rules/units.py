"""Metres and Blender's units: a scene's unit scale says how many metres one unit is."""

from __future__ import annotations

import bpy


def metres_per_unit(scene: bpy.types.Scene) -> float:
    """1 in most scenes, 0.01 where people work in centimetres; without a system of units, a unit is a metre."""
    units = scene.unit_settings
    return 1.0 if units.system == "NONE" else float(units.scale_length) or 1.0


def scene_of(obj: bpy.types.Object) -> bpy.types.Scene:
    """The scene whose units count for an object: the open one, unless it is in others only."""
    here = bpy.context.scene
    scenes = obj.users_scene
    return here if here in scenes or not scenes else scenes[0]
