"""Memory: an allocator that keeps what tensors free and soon need again, and what is told where none is left.

glibc gives blocks of a few MiB back to the kernel at every free and faults their pages in at every
allocation. Keeping them makes a training step on a CPU 1.1 to 1.6 times as quick (benchmarks/README.md).
"""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from proxy_tasks.task import TaskFailureError

OUT_OF_MEMORY = re.compile(
    r"DefaultCPUAllocator|(CUDA|HIP|MPS|device).{0,20}out of memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_\w*ALLOC\w*_FAILED",
    re.IGNORECASE,
)
"""Messages of memory that has run out, where the type does not tell it."""

MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD = -3, -1, -2
"""Numbers of mallopt(3)."""


def keep_freed_memory() -> bool:
    """Sets this process's allocator, for entry points of worker processes; returns False without glibc."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        settings = ((MMAP_THRESHOLD, 32 << 20), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 64 << 20))
        return all(libc.mallopt(*setting) == 1 for setting in settings)
    except (OSError, AttributeError):
        return False


def limit_gpu_memory(share: float) -> None:
    """Limits this process to a share of its GPU's memory, if torch uses one here.

    Args:
        share: above 0 and up to 1.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.set_per_process_memory_fraction(share)


def release_memory() -> None:
    """Gives back what an evaluation has left, so that memory does not grow from candidate to candidate."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


@contextmanager
def memory_faults(step: int | None = None) -> Iterator[None]:
    """Turns what torch raises where memory runs out into the failure of its kind.

    Args:
        step: number of steps done, for the message.

    Raises:
        TaskFailureError: of the kind "out of memory".
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's own type is a RuntimeError.
        ended = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not ended and not OUT_OF_MEMORY.search(str(error)):
            raise
        raise TaskFailureError("out of memory", f"out of memory: {error}", step) from None
