"""What turns a picture into a GLB: one small interface, and the engines behind it."""

from .base import Engine, create_engine, engine_for

__all__ = ["Engine", "create_engine", "engine_for"]
