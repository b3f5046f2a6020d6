"""Asking: the task protocol over HTTP, to the remote API or to our own service."""

from .backends import BACKENDS, Backend, connect
from .client import Client

__all__ = ["BACKENDS", "Backend", "Client", "connect"]
