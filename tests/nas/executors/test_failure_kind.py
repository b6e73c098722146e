"""Exceptions of devices, disks and installations are the machine's; memory is told by its type."""

from __future__ import annotations

import asyncio
import errno

import pytest
import torch

from nas.executors.failure_kind import failure_of
from nas.executors.job import Decision, Job, run_job
from proxy_tasks.adapted_task import adapt
from proxy_tasks.task import FailureKind, Score


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
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`"),
            "out of memory",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out of memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "out of memory"),
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


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), SpeechlessError()], ids=repr)
def test_every_exception_of_a_task_fails_its_trial_alone(error: BaseException) -> None:
    class Raises:
        def evaluate(self, spec: object) -> Score:
            raise error

    ended = run_job(adapt(Raises()), Job(0, 0, "s", 1.0, 0, None), lambda *_: Decision.CONTINUE, "w")
    assert (ended.status, ended.failure) == ("failed", "error")
    assert type(error).__name__ in ended.message


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({str(i): 0.0 for i in range(10_001)}, "a score may have 10000 metrics, and this one has 10001"),
        ({f"{i}" + "x" * 2000: 0.0 for i in range(1000)}, "the names of a score's metrics have over 1048576"),
    ],
    ids=["many", "long"],
)
def test_metrics_beyond_what_a_journal_takes_fail_their_trial(metrics: dict[str, float], told: str) -> None:
    class Talkative:
        def evaluate(self, spec: object) -> Score:
            return Score(0.5, metrics)

    ended = run_job(adapt(Talkative()), Job(0, 0, "s", 1.0, 0, None), lambda *_: Decision.CONTINUE, "w")
    assert (ended.status, ended.failure) == ("failed", "error")
    assert told in ended.message
