"""In which numbers a device computes: what its tensor cores are fast in, and what it stays exact in. Without torch.

The flow models were trained in bfloat16. Cards before Ampere have no arithmetic for it; Volta and Turing have float16,
which is more exact but ends at 65,504: there the residual stream, which grows from block to block, is kept in float32,
and what is added to it is computed smaller by a power of two (`networks.network.to_stream`). Cards without tensor cores
are no faster in 16 bits than in 32: they compute in float32, with weights that stay in the 16 bits in which they were
published. Decoders are float16, as published, wherever there are 16 bits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..core.messages import message

BFLOAT16, FLOAT16, FLOAT32 = "bfloat16", "float16", "float32"
EXACT_KEYS = 2000  # beyond so many Metal's attention loses its softmax in 16 bits (pytorch/pytorch#190791)


@dataclass(frozen=True)
class Precision:
    """`flows` and `decoders` are the types of the networks' torsos, by name; `reason` is a sentence for people."""

    flows: str
    decoders: str
    reason: str
    is_packed: bool = False
    """Whether weights stay in 16 bits where float32 is computed in, as the memory of a card asks for."""

    @property
    def itemsize(self) -> int:
        """Bytes of a value that is computed."""
        return 4 if self.flows == FLOAT32 else 2

    @property
    def weight(self) -> int:
        """Bytes of a weight."""
        return 2 if self.is_packed else self.itemsize


_AMPERE = Precision(BFLOAT16, FLOAT16, message("as the model was trained"))
_METAL = Precision(
    BFLOAT16,
    FLOAT16,
    message("as the model was trained; attention in float32 beyond {keys} keys, where Metal is exact", keys=EXACT_KEYS),
)
_TURING = Precision(
    FLOAT16, FLOAT16, message("this card has no bfloat16; what is carried from block to block stays in float32")
)
_NO_TENSOR_CORES = Precision(
    FLOAT32, FLOAT32, message("this card has no tensor cores, and is no faster in 16 bits"), is_packed=True
)
_PROCESSOR = Precision(FLOAT32, FLOAT32, message("a processor is fastest in it"))


def precision_of(kind: str, capability: str = "", name: str = "") -> Precision:
    """What a device computes in.

    `kind` is "nvidia", "amd", "apple" or "cpu", `capability` CUDA's compute capability ("7.5") or AMD's target
    ("gfx1100"), "" where nobody tells it, and `name` the card's.
    """
    if kind == "nvidia":
        return _nvidia(capability, name)
    if kind == "amd":
        # before RDNA 3 (gfx11) and CDNA (gfx908 on): no matrix units, but float16 at twice the speed
        return _TURING if re.match(r"gfx(10|90[0-6])", capability) else _AMPERE
    return {"apple": _METAL, "cpu": _PROCESSOR}.get(kind, _PROCESSOR)


def _nvidia(capability: str, name: str) -> Precision:
    major, _, minor = capability.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        return _AMPERE
    version = (int(major), int(minor))
    if version >= (8, 0):
        return _AMPERE
    # Of Turing's cards (7.5) those named RTX and the T4 have tensor cores; GTX 16, MX, T400 to T2000 do not.
    has_tensor_cores = version >= (7, 0) and (version < (7, 5) or re.search(r"\brtx\b|\bt4g?\b|\bt40\b", name.lower()))
    return _TURING if has_tensor_cores else _NO_TENSOR_CORES
