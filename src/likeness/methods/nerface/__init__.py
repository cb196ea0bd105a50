"""NeRFace, in rooms of its own."""
