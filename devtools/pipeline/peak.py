"""How much memory a computation takes, without a device that has it: on meta tensors, which have shapes only."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """`peak` is the most bytes that tensors made inside it ever took together, `traffic` what its operations read and
    wrote; both without the weights of the modules that are `before`, as far as the peak goes."""

    def __init__(self, *before: torch.nn.Module) -> None:
        super().__init__()
        self._ours = {p.untyped_storage()._cdata for module in before for p in module.parameters()}
        self._live: dict[int, int] = {}
        self.peak = 0
        self.traffic = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        is_view = True
        for tensor in tree_leaves(out):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata not in self._ours and storage._cdata not in self._live:
                is_view = False
                self._live[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self._live.pop, storage._cdata, None)
                self.peak = max(self.peak, sum(self._live.values()))
        if not is_view or func._schema.is_mutable:
            tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
            self.traffic += sum(t.numel() * t.element_size() for t in tensors)
        return out
