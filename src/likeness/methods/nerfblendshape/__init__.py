"""NeRFBlendShape, in rooms of its own."""
