"""Every registry of the house, for those who list or check them all."""

from likeness.captures import CAPTURES
from likeness.core.registry import Registry
from likeness.drivers import DRIVERS
from likeness.exporters import EXPORTERS
from likeness.methods import METHODS
from likeness.rigs import RIGS
from likeness.trackers import TRACKERS
from likeness.verbs import VERBS


def registries() -> list[Registry]:
    return [VERBS, CAPTURES, RIGS, TRACKERS, METHODS, DRIVERS, EXPORTERS]
