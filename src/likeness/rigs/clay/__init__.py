"""`clay`: the built-in head, made entirely by the code in this folder."""

from likeness.rigs.clay.head import clay

__all__ = ["clay"]
