"""Thread defaults that keep a busy laptop usable. Imports nothing heavy: runs before torch.

Two OpenMP pools live in one process (torch's own and numba's). Spinning at their barriers makes a
step twenty times slower as soon as another program wants a core, so waiting is passive unless the
user has said otherwise.
"""

import os


def prepare() -> None:
    """Set what OpenMP reads once, at load time. Whatever the user has set wins."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "2")
