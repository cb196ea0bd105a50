"""Head models: each row is a function that returns a Rig."""

from likeness.core.registry import Registry

RIGS = Registry(
    "rig",
    {
        "clay": "likeness.rigs.clay:clay",
        "flame": "likeness.rigs.flame:flame",
        "ict": "likeness.rigs.ict:ict",
    },
)
