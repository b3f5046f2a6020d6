"""Import what was installed, compute something, and write what was seen as JSON to the file of the first argument."""

import json
import platform
import sys
import warnings
from importlib import import_module

_PACKAGES = (
    *("array_api_compat", "httpx", "numpy", "onnxruntime", "PIL.Image", "safetensors.torch"),
    *("scipy.spatial", "starlette", "uvicorn"),
)

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    import torch

    for package in _PACKAGES:
        import_module(package)
    warp = import_module("warp")
    warp.config.quiet = True
    warp.init()
    device = "cpu"
    try:
        if torch.cuda.is_available():
            device = "cuda"
        elif torch.backends.mps.is_available():
            device = "mps"
        torch.ones(64, 64, device=device).matmul(torch.ones(64, 64, device=device)).sum().item()
    except Exception as error:
        print(f"{device}: {error}")
        device = "cpu"
    with open(sys.argv[1], "w", encoding="utf-8") as answer:
        json.dump({"python": platform.python_version(), "torch": torch.__version__, "device": device}, answer)
