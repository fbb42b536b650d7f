"""A probe whose driver crashes."""

import os
import signal


def crash(request):
    os.kill(os.getpid(), signal.SIGSEGV)
