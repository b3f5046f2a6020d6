"""What the errors of a device mean, whatever class they come in: memory that is short, a device that is lost.

PyTorch, Warp and the drivers raise most of this as a plain RuntimeError; only the words tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DeviceMemoryError
from ..messages import message

# In lower case, and the only such list. CUDA and ROCm, the libraries of both, PyTorch's allocator where it cannot even
# ask how much there is, Warp, Metal, then main memory on Linux and on Windows.
MEMORY_WORDS = (
    "out of memory",
    "outofmemory",
    "hip_error_out_of_memory",
    "status_alloc_failed",  # cublas, cudnn, cusolver, cusparse, hipblas
    "allocation_failed",
    "rocblas_status_memory_error",
    "nvml_success == r internal assert failed",
    "failed to allocate",
    "insufficient memory",
    "invalid buffer size",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "bad allocation",
    "paging file is too small",
)
# After one of these everything this process asks of the device fails: only a new process helps.
LOST_WORDS = {
    "unspecified launch failure": message("the graphics driver gave up in the middle of the work"),
    "illegal memory access": message("a computation on the graphics card went wrong"),
    "misaligned address": message("a computation on the graphics card went wrong"),
    "illegal instruction was encountered": message("a computation on the graphics card went wrong"),
    "device-side assert": message("a computation on the graphics card went wrong"),
    "launch timed out": message("the system's watchdog stopped a computation on the graphics card that took too long"),
    "uncorrectable ecc error": message("the graphics card's memory has an error that cannot be corrected"),
    "gpu is lost": message("the graphics card is lost to the system"),
    "device is lost": message("the graphics card is lost to the system"),
    "device removed": message("the graphics card is lost to the system"),
    "gpu has fallen off the bus": message("the graphics card is lost to the system"),
    "gpu hang": message("the graphics card hung and was reset"),
    "unknown error": message("the graphics driver failed without saying why"),
    "hsa_status_error_exception": message("a computation on the graphics card went wrong"),
}
_DEVICE_WORDS = ("cuda", "hip ", "hip error", "hsa_", "rocm", "gpu", "mps", "metal", "cublas", "cudnn", "nvml", "xid")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, had too little memory."""
    for one in _chain(error):
        if isinstance(one, (MemoryError, DeviceMemoryError)) or type(one).__name__ == "OutOfMemoryError":
            return True
        if isinstance(one, (RuntimeError, OSError)) and any(words in str(one).lower() for words in MEMORY_WORDS):
            return True
    return False


def why_lost(error: BaseException) -> str:
    """Why this process can use its device no more, in words; empty while it can."""
    return next(filter(None, (lost_device(str(one)) for one in _chain(error) if isinstance(one, RuntimeError))), "")


def lost_device(text: str) -> str:
    """What a message says of a device that is lost, in words; empty where it says nothing of the kind."""
    for line in text.lower().splitlines():
        if any(word in line for word in _DEVICE_WORDS):
            for words, meaning in LOST_WORDS.items():
                if words in line:
                    return meaning
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came of."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
