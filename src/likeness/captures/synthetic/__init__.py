"""People who do not exist, filmed: a recording and the truth behind it, from a seed."""

from likeness.captures.synthetic.film import film

__all__ = ["film"]
