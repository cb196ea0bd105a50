"""Triton's compiler as the type checker should see it: kernels are launched by index."""

# pyright: reportMissingImports=false
# Triton comes with torch where there is a GPU for it.

from typing import Any

import triton

jit: Any = triton.jit
