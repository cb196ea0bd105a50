"""The splat head, in rooms of its own."""
