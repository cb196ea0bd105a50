"""One vocabulary of semantic regions, for rig vertices and for pixels."""

REGIONS: tuple[str, ...] = (
    "background",
    "skin",
    "brows",
    "eyes",
    "irises",
    "lips",
    "mouth",
    "teeth",
    "tongue",
    "hair",
    "ears",
    "neck",
    "clothes",
    "scalp",
)
"""A label is an index into this tuple. `eyes` is what shows of an eyeball outside the iris (pupils
count as irises), `mouth` the inside of the mouth that is neither teeth nor tongue, `scalp` the
skin a rig's hair grows from (pixels there are `hair` or `skin`)."""

REGION: dict[str, int] = {name: index for index, name in enumerate(REGIONS)}

HEAD_REGIONS: tuple[str, ...] = tuple(
    name for name in REGIONS if name not in ("background", "neck", "clothes")
)
"""What `head` means in every figure we print: face, hair and ears, without neck and clothes."""
