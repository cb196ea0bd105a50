"""Numba's compiler as the type checker should see it.

A compiled function takes its arguments as they come, unpacked lists among them; a checker that
sees the undecorated signature counts a list of unknown length as all of them.
"""

from typing import Any

import numba
import numba.core.extending

njit: Any = numba.njit
intrinsic: Any = numba.core.extending.intrinsic
