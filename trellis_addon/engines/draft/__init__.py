"""The draft engine: a closed, textured body of a picture's subject, without any weights."""

from .engine import ReliefEngine

__all__ = ["ReliefEngine"]
