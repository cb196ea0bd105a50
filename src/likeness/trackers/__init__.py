"""Trackers: settings with `track(capture, rig, folder) -> Track`."""

from likeness.core.registry import Registry

TRACKERS = Registry(
    "tracker",
    {
        "landmarks": "likeness.trackers.landmarks:Landmarks",
        "photometric": "likeness.trackers.photometric:Photometric",
    },
)
