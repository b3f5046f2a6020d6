"""What turns a picture into a GLB: one small interface, and the engines behind it."""

from .engine import Engine, Made
from .registry import create_engine, engine_for

__all__ = ["Engine", "Made", "create_engine", "engine_for"]
