"""A probe whose driver crashes."""

import os
import signal

from validators.runtimes.gpu_probe import GpuAdapter, ProbeRequest


def crash(_request: ProbeRequest) -> tuple[GpuAdapter, ...]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return ()
