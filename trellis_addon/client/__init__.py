"""Asking: the task protocol over HTTP, to the remote API or to our own service.

backends         where a task is run: the remote API, a service on this machine, or one at an address
client           submit, poll, upload
replies          every shape of a reply that has been seen
download         a finished file, resumed, checked, put in its place
local_service    our own services on this machine
supervisor       keeping one of them alive
worker_status    how one of them is, and what may follow what
worker_process   one of them in a process of its own
worker_home      its lasting folder, its log, and who else uses it
machines         the machines behind a service, in words
asking           short questions to it, outside of any job
"""

from .backends import BACKENDS, Backend, connect
from .client import Client

__all__ = ["BACKENDS", "Backend", "Client", "connect"]
