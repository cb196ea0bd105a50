"""What likeness can do: one function per verb, the same at every door."""

from likeness.core.registry import Registry

VERBS = Registry(
    "verb",
    {
        "build": "likeness.verbs.build:build",
        "demo": "likeness.verbs.demo:demo",
        "doctor": "likeness.verbs.doctor:doctor",
        "ingest": "likeness.verbs.ingest:ingest",
        "track": "likeness.verbs.track:track",
        "overlay": "likeness.verbs.overlay:overlay",
        "fit": "likeness.verbs.fit:fit",
        "evaluate": "likeness.verbs.evaluate:evaluate",
        "bench": "likeness.verbs.bench:bench",
        "preview": "likeness.verbs.preview:preview",
        "render": "likeness.verbs.render:render",
        "reenact": "likeness.verbs.reenact:reenact",
        "export": "likeness.verbs.export:export",
        "verify": "likeness.verbs.verify:verify",
        "show": "likeness.verbs.show:show",
        "mesh": "likeness.verbs.mesh:mesh",
        "report": "likeness.verbs.report:report",
        "synth": "likeness.verbs.synth:synth",
    },
)
