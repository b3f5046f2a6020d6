"""The draft engine: an inflated, textured relief of a picture's subject, without any weights."""

from .engine import ReliefEngine

__all__ = ["ReliefEngine"]
