"""Exceptions of devices, disks and installations are the machine's; memory is told by its type."""

from __future__ import annotations

import errno

import pytest
import torch

from nas.executors.faults import failure_of
from nas.executors.job import Decision, Job, run_job
from proxy_tasks.task import FailureKind, Score, adapt


def accelerator_error() -> BaseException:
    kind = getattr(torch, "AcceleratorError", RuntimeError)
    return kind("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("Tried to allocate 20 MiB"), "out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "out of memory"),
        (RuntimeError("CUDA error: out of memory"), "out of memory"),
        (accelerator_error(), "infrastructure"),
        (RuntimeError("CUDA error: device-side assert triggered"), "infrastructure"),
        (RuntimeError("CUDA driver initialization failed"), "infrastructure"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "infrastructure"),
        (RuntimeError("NCCL communicator was aborted"), "infrastructure"),
        (ModuleNotFoundError("No module named 'timm'"), "infrastructure"),
        (ImportError("libcudart.so.13: cannot open shared object file"), "infrastructure"),
        (OSError(errno.ENOSPC, "No space left on device"), "infrastructure"),
        (OSError(errno.ESTALE, "Stale file handle"), "infrastructure"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "error"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "error"),
        (ValueError("CUDA error is only a word here"), "error"),
        (KeyError("AP"), "error"),
    ],
    ids=repr,
)
def test_the_kind_of_an_exception(error: BaseException, kind: FailureKind) -> None:
    assert failure_of(error) == kind

    class Raises:
        def evaluate(self, spec: object) -> Score:
            raise error

    ended = run_job(adapt(Raises()), Job(0, 0, "s", 1.0, 0, None), lambda *_: Decision.CONTINUE, "w")
    assert (ended.status, ended.failure) == ("failed", kind)
