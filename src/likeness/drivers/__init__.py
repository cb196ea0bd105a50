"""Drivers: settings with `drive(source, rig) -> Expression`.

A driver's expressions are a performance: zero is a face at rest, and `world_from_head` is the
head's motion away from its rest pose, in the frame of the head at rest. `placing.place` puts a
performance on one person.
"""

from likeness.core.registry import Registry

DRIVERS = Registry(
    "driver",
    {
        "gestures": "likeness.drivers.gestures:Gestures",
        "table": "likeness.drivers.table:Table",
        "retarget": "likeness.drivers.retarget:Retarget",
    },
)
