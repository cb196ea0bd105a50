"""USD: the head as a skinned mesh with named blend shapes (UsdSkel), textured, with its motion."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.errors import need_extra
from likeness.core.files import atomic
from likeness.core.geometry import axis_angle_to_matrix, matrix_to_quaternion
from likeness.core.media import save_png
from likeness.exporters.glb import continuous, four_strongest, resting
from likeness.exporters.motion import Motion, check_finite
from likeness.exporters.notes import KEY, Note
from likeness.exporters.surface import HasRig, Skinned, vertex_normals
from likeness.exporters.texture import bake
from likeness.exporters.volumes import surface_of

_LEAST = 1e-6  # metres; smaller displacements are not stored


@dataclass(frozen=True)
class Usd:
    """The same mesh as .usdc with blend shapes and skeleton, its texture a PNG beside it."""

    texture: int = 1024
    """Pixels along a side of the texture."""
    wrap: float = 0.0
    """Density per metre onto whose surface the rig is laid, for avatars that learn a volume; 0
    leaves it as it was tracked."""

    needs = HasRig
    suffix = ".usdc"

    @staticmethod
    def installed() -> None:
        """Raise, naming the extra, where USD's library is not; without loading it."""
        if find_spec("pxr") is None:
            raise need_extra("usd-core", "usd", "USD")

    def export(self, avatar: Any, path: Path, motion: Motion, note: Note) -> Path:
        self.installed()
        check_finite(motion)
        surface = surface_of(avatar, resting(motion), self.wrap)
        picture = path.with_suffix(".png")
        save_png(picture, bake(avatar, surface, resting(motion), self.texture), note.line())
        with atomic(path) as temporary:
            temporary.unlink()
            write_stage(temporary, surface, motion, note, f"./{picture.name}")
        return path


def pxr(*names: str) -> list[Any]:
    """Modules of USD's library by name."""
    try:
        return [import_module(f"pxr.{name}") for name in names or ("Usd",)]
    except ImportError as error:
        raise need_extra("usd-core", "usd", "USD") from error


def write_stage(
    path: Path, surface: Skinned, motion: Motion, note: Note, picture: str = ""
) -> None:
    """The whole stage. Joint "head" carries the head's motion; the rig's joints hang on it."""
    Sdf, Usd, UsdGeom, UsdSkel = pxr("Sdf", "Usd", "UsdGeom", "UsdSkel")
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetFramesPerSecond(motion.fps)
    stage.SetTimeCodesPerSecond(motion.fps)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(len(motion) - 1)
    root = UsdSkel.Root.Define(stage, "/avatar")
    stage.SetDefaultPrim(root.GetPrim())
    stage.GetRootLayer().customLayerData = {KEY: note.line()}
    stage.GetRootLayer().comment = note.sentence()
    mesh = UsdGeom.Mesh.Define(stage, "/avatar/surface")
    _mesh(mesh, surface)
    skeleton = UsdSkel.Skeleton.Define(stage, "/avatar/skeleton")
    clip = UsdSkel.Animation.Define(stage, "/avatar/skeleton/motion")
    names = _joint_paths(surface)
    _skeleton(skeleton, surface, names)
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    weights, joints = four_strongest(surface.skin)
    binding.CreateJointIndicesPrimvar(False, 4).Set(joints.flatten().int().numpy())
    binding.CreateJointWeightsPrimvar(False, 4).Set(weights.flatten().float().numpy())
    _shapes(stage, binding, surface)
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets(
        [clip.GetPath()]
    )
    _animate(clip, surface, motion, names)
    if picture:
        _material(stage, mesh, picture)
    mesh.GetPrim().CreateAttribute("userProperties:note", Sdf.ValueTypeNames.String).Set(
        note.sentence()
    )
    stage.GetRootLayer().Save()


def _vectors(values: Tensor) -> Any:
    (Vt,) = pxr("Vt")
    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values.numpy(), np.float32))


def _mesh(mesh: Any, surface: Skinned) -> None:
    Sdf, UsdGeom, Vt = pxr("Sdf", "UsdGeom", "Vt")
    mesh.CreatePointsAttr(_vectors(surface.vertices))
    mesh.CreateFaceVertexCountsAttr([3] * len(surface.triangles))
    mesh.CreateFaceVertexIndicesAttr(surface.triangles.flatten().int().numpy())
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    mesh.CreateNormalsAttr(
        _vectors(vertex_normals(surface.vertices, surface.triangles, surface.source))
    )
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    low, high = surface.vertices.amin(0), surface.vertices.amax(0)
    mesh.CreateExtentAttr(_vectors(torch.stack([low, high])))
    flipped = torch.stack([surface.uv[:, 0], 1 - surface.uv[:, 1]], -1).float().numpy()
    UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex
    ).Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(flipped)))


def _joint_paths(surface: Skinned) -> list[str]:
    """Each joint's path below "head", which is itself the first."""
    paths: list[str] = []
    for name, parent in zip(surface.joint_names, surface.parents):
        paths.append(f"{paths[parent] if parent >= 0 else 'head'}/{name}")
    return ["head", *paths]


def _skeleton(skeleton: Any, surface: Skinned, names: list[str]) -> None:
    Gf, Vt = pxr("Gf", "Vt")
    places = torch.cat([torch.zeros(1, 3), surface.joints]).double()
    local = places.clone()
    for i, parent in enumerate(surface.parents):
        local[i + 1] = places[i + 1] - places[parent + 1]

    def moved(points: Tensor) -> Any:
        return Vt.Matrix4dArray([Gf.Matrix4d().SetTranslate(Gf.Vec3d(*p.tolist())) for p in points])

    skeleton.CreateJointsAttr(names)
    skeleton.CreateBindTransformsAttr(moved(places))
    skeleton.CreateRestTransformsAttr(moved(local))


def _shapes(stage: Any, binding: Any, surface: Skinned) -> None:
    (UsdSkel,) = pxr("UsdSkel")
    paths = []
    for name, target in zip(surface.names, surface.targets):
        valid = name if not name[:1].isdigit() else f"shape_{name}"
        shape = UsdSkel.BlendShape.Define(stage, f"/avatar/surface/{valid}")
        kept = (target.abs() > _LEAST).any(-1).nonzero()[:, 0]
        shape.CreateOffsetsAttr(_vectors(target[kept]))
        shape.CreatePointIndicesAttr(kept.int().numpy())
        paths.append(shape.GetPath())
    binding.CreateBlendShapesAttr(list(surface.names))
    binding.CreateBlendShapeTargetsRel().SetTargets(paths)


def _animate(clip: Any, surface: Skinned, motion: Motion, names: list[str]) -> None:
    Gf, Vt = pxr("Gf", "Vt")
    what = motion.expressions
    places = torch.cat([torch.zeros(1, 3), surface.joints])
    parents = [0, *(parent + 1 for parent in surface.parents)]
    turns = torch.cat([what.world_from_head[:, None, :3, :3], axis_angle_to_matrix(what.joints)], 1)
    quaternions = matrix_to_quaternion(turns)
    steady = torch.stack([continuous(quaternions[:, j]) for j in range(len(names))], 1)
    clip.CreateJointsAttr(names)
    clip.CreateBlendShapesAttr(list(surface.names))
    clip.CreateScalesAttr(Vt.Vec3hArray([Gf.Vec3h(1, 1, 1)] * len(names)))
    weights, rotations = clip.CreateBlendShapeWeightsAttr(), clip.CreateRotationsAttr()
    translations = clip.CreateTranslationsAttr()
    still = places - places[parents]
    for t in range(len(motion)):
        local = still.clone()
        local[0] = what.world_from_head[t, :3, 3]
        weights.Set(what.coefficients[t].float().numpy(), t)
        rotations.Set(
            Vt.QuatfArray([Gf.Quatf(q[3], q[0], q[1], q[2]) for q in steady[t].tolist()]), t
        )
        translations.Set(_vectors(local), t)


def _material(stage: Any, mesh: Any, picture: str) -> None:
    Sdf, UsdShade = pxr("Sdf", "UsdShade")
    kinds = Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, "/avatar/skin")
    look = UsdShade.Shader.Define(stage, "/avatar/skin/look")
    look.CreateIdAttr("UsdPreviewSurface")
    look.CreateInput("roughness", kinds.Float).Set(0.9)
    image = UsdShade.Shader.Define(stage, "/avatar/skin/picture")
    image.CreateIdAttr("UsdUVTexture")
    image.CreateInput("file", kinds.Asset).Set(picture)
    image.CreateInput("sourceColorSpace", kinds.Token).Set("sRGB")
    reader = UsdShade.Shader.Define(stage, "/avatar/skin/st")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", kinds.String).Set("st")
    found = reader.CreateOutput("result", kinds.Float2)
    image.CreateInput("st", kinds.Float2).ConnectToSource(found)
    colour = image.CreateOutput("rgb", kinds.Float3)
    look.CreateInput("diffuseColor", kinds.Color3f).ConnectToSource(colour)
    material.CreateSurfaceOutput().ConnectToSource(look.CreateOutput("surface", kinds.Token))
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
