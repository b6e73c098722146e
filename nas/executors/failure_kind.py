"""What kind of failure an exception is: of the spec, of memory, or of the machine under it."""

from __future__ import annotations

import errno
import re

from nas.plugins.faults import text_of
from proxy_tasks.engine.memory import OUT_OF_MEMORY
from proxy_tasks.task import FailureKind

OF_THE_DEVICE = re.compile(
    r"CUDA (error|driver|initialization)|cuda runtime error|no CUDA-capable device|CUDNN_STATUS|cuDNN error"
    r"|CUBLAS_STATUS|CUSOLVER|NCCL|NVML|HIP error|hipError|MPS backend|device-side assert",
    re.IGNORECASE,
)
"""Messages of a device that does not work; torch raises many of them as plain RuntimeErrors."""

OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENODEV, errno.EROFS})
"""System errors of a disk that is full, broken or gone."""


def failure_of(error: BaseException) -> FailureKind:
    """The kind of failure that an exception of an evaluation is.

    Memory is told by the type where there is one, on every device. Faults of a GPU, of a disk, and of an
    installation without some package are those of the machine: another may do better.

    Args:
        error: raised by a task; torch need not be imported for it.
    """
    types = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    message = text_of(error)
    if isinstance(error, MemoryError) or ("torch", "OutOfMemoryError") in types:
        return "out of memory"
    if isinstance(error, (RuntimeError, OSError)) and OUT_OF_MEMORY.search(message):
        return "out of memory"
    if isinstance(error, ImportError) or ("torch", "AcceleratorError") in types:
        return "infrastructure"
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        return "infrastructure"
    if isinstance(error, RuntimeError) and OF_THE_DEVICE.search(message):
        return "infrastructure"
    return "error"
