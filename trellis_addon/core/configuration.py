"""What this machine says of how the library is to run. The environment is read here, and nowhere else.

    configuration().weights          what holds now: frozen, so ask again for what holds later
    choose(weights="/models")        what the preferences say: it counts where the environment says nothing
    overrule(device="cpu")           what a command line says: it counts more

Nothing is written into the environment of Blender's process, which other add-ons' programs inherit; the processes that
this library starts are given `configuration().variables`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

HOME_VARIABLE = "TRELLIS2_HOME"  # a folder: jobs and their files
LOCAL_VARIABLE = "TRELLIS2_LOCAL"  # a folder: the local backend
PYTHON_VARIABLE = "TRELLIS2_PYTHON"  # the Python that has PyTorch, in place of the local backend's
WEIGHTS_VARIABLE = "TRELLIS2_WEIGHTS"  # a folder
DEVICE_VARIABLE = "TRELLIS2_DEVICE"  # auto, cuda, cuda:1, mps or cpu
MEMORY_VARIABLE = "TRELLIS2_MEMORY"  # GiB that may be taken of the device
MASK_MODEL_VARIABLE = "TRELLIS2_MASK_MODEL"  # an ONNX file
FAST_VARIABLE = "TRELLIS2_FAST"  # 1: sampling with fewer operations, and another result
EIGHT_BITS_VARIABLE = "TRELLIS2_EIGHT_BITS"  # 1: the flow models in half the memory, and another result
FINISHING_VARIABLE = "TRELLIS2_FINISHING"  # cpu, or device: as fast as that is, the last bits not always the same
IDLE_VARIABLE = "TRELLIS2_IDLE"  # minutes after which engines that have nothing to do release the device; 0: never
BLENDER_VARIABLE = "TRELLIS2_BLENDER"  # the program that makes quads, in place of this Python's or PATH's
TOKEN_VARIABLE = "TRELLIS2_SERVICE_TOKEN"  # of a service of one's own
KEY_VARIABLE = "RUNWARE_API_KEY"
REMOTE_URL_VARIABLE = "RUNWARE_BASE_URL"  # for tests, and for a proxy of one's own


@dataclass(frozen=True)
class Configuration:
    """What holds at one moment: texts as they were given, "" where nobody has said anything.

    `variables` are those of the whole environment, with what was chosen here: for what other programs are told by
    (proxies, certificates, folders of caches), and for processes to be started.
    """

    home: str
    local: str
    python: str
    weights: str
    device: str
    memory: str
    mask_model: str
    fast: str
    eight_bits: str
    finishing: str
    idle: str
    blender: str
    service_token: str
    api_key: str
    remote_url: str
    variables: Mapping[str, str]


# field of the configuration -> its variable
VARIABLES: Mapping[str, str] = {
    "home": HOME_VARIABLE,
    "local": LOCAL_VARIABLE,
    "python": PYTHON_VARIABLE,
    "weights": WEIGHTS_VARIABLE,
    "device": DEVICE_VARIABLE,
    "memory": MEMORY_VARIABLE,
    "mask_model": MASK_MODEL_VARIABLE,
    "fast": FAST_VARIABLE,
    "eight_bits": EIGHT_BITS_VARIABLE,
    "finishing": FINISHING_VARIABLE,
    "idle": IDLE_VARIABLE,
    "blender": BLENDER_VARIABLE,
    "service_token": TOKEN_VARIABLE,
    "api_key": KEY_VARIABLE,
    "remote_url": REMOTE_URL_VARIABLE,
}
_PATHS = ("home", "local", "python", "weights", "mask_model", "blender")
_SECRETS = {KEY_VARIABLE, TOKEN_VARIABLE}  # never chosen: they are handed in where they are used

_chosen: dict[str, str] = {}
_overruling: dict[str, str] = {}


def configuration(*, chosen: bool = True) -> Configuration:
    """What holds now; without `chosen`, what would if nothing had been chosen."""
    choice = _chosen if chosen else {}
    variables = {**choice, **{name: text for name, text in os.environ.items() if text or name not in choice}}
    variables |= _overruling
    values = {field: variables.get(name, "").strip() for field, name in VARIABLES.items()}
    values |= {field: os.path.expanduser(values[field]) for field in _PATHS}  # a shell leaves a quoted ~ as it is
    return Configuration(**values, variables=MappingProxyType(variables))


def choose(**values: str) -> None:
    """What holds from now on where the environment says nothing; "" takes a choice back."""
    _put(_chosen, values)


def overrule(**values: str) -> None:
    """What holds from now on whatever the environment says; "" takes it back."""
    _put(_overruling, values)


def is_given(field: str) -> bool:
    """Whether the environment says it itself, so that a choice does not count."""
    return bool(os.environ.get(VARIABLES[field]))


def tell_this_process(variables: Mapping[str, str]) -> None:
    """Write into the environment of this process, for a library that reads its settings there alone (Ray, PyTorch).

    Never within Blender: only where the whole process is ours, as a service's or an actor's is.
    """
    os.environ.update(variables)


def _put(where: dict[str, str], values: Mapping[str, str]) -> None:
    for field, text in values.items():
        name = VARIABLES[field]
        if name in _SECRETS:
            raise ValueError(f"{field} is a secret, and secrets are not kept here")
        if text:
            where[name] = text
        else:
            where.pop(name, None)
