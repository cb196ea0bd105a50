"""Avatars in formats that open elsewhere: one file and one row each.

A row is a settings class with `needs` (the talent asked of the avatar), `suffix`, and
`export(avatar, path, motion, note)`; its fields are its options.
"""

from likeness.core.registry import Registry

EXPORTERS = Registry(
    "exporter",
    {
        "ply": "likeness.exporters.splat_ply:SplatPly",
        "splat": "likeness.exporters.splat_records:SplatRecords",
        "spz": "likeness.exporters.spz:Spz",
        "gltf-splats": "likeness.exporters.gltf_splats:GltfSplats",
        "splat-rig": "likeness.exporters.splat_rig:SplatRig",
        "glb": "likeness.exporters.glb:Glb",
        "obj": "likeness.exporters.wavefront:Wavefront",
        "usd": "likeness.exporters.usd:Usd",
        "mesh-ply": "likeness.exporters.mesh_ply:MeshPly",
        "json": "likeness.exporters.motion_json:MotionJson",
        "csv": "likeness.exporters.motion_csv:MotionCsv",
        "npz": "likeness.exporters.motion_npz:MotionNpz",
        "bvh": "likeness.exporters.bvh:Bvh",
        "mp4": "likeness.exporters.film:Mp4",
        "webm": "likeness.exporters.film:WebM",
        "gif": "likeness.exporters.film:Gif",
        "webp": "likeness.exporters.film:WebP",
        "png": "likeness.exporters.film:Png",
        "page": "likeness.exporters.page:Page",
    },
)
