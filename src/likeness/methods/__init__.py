"""Avatar methods: settings that are the method, one row each."""

from likeness.core.registry import Registry

METHODS = Registry(
    "method",
    {
        "splats": "likeness.methods.splats.method:RiggedSplats",
        "nerface": "likeness.methods.nerface.method:Nerface",
        "nerfblendshape": "likeness.methods.nerfblendshape.method:NerfBlendShape",
    },
)
