"""Defaults of threads and memory that keep a laptop usable. Imports nothing heavy.

Runs before torch.

Two OpenMP pools live in one process (torch's own and numba's). Spinning at their barriers makes a
step twenty times slower as soon as another program wants a core, so waiting is passive unless the
user has said otherwise.

Large tensors ask Linux for large pages: a fresh gradient of two hundred megabytes costs more in
page faults than in arithmetic. It is a wish; systems without large pages ignore it.
"""

import os


def prepare() -> None:
    """Set what OpenMP and torch read once. Whatever the user has set wins."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "2")
