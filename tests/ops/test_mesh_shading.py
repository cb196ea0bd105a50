"""Normals, light, textures and surfaces of fields."""

import math

import pytest
import torch

from likeness.core.camera import pinhole
from likeness.core.errors import BadInput
from likeness.ops.mesh import rasterise
from likeness.ops.shading import (
    light_by_harmonics,
    light_from,
    mip_levels,
    mip_pyramid,
    sample_texture,
    vertex_normals,
)
from likeness.ops.surfaces import surface_at


def _ball_field(count=24, radius=0.07):
    axis = torch.linspace(-0.1, 0.1, count)
    x, y, z = torch.meshgrid(axis, axis * 1.2, axis * 0.9, indexing="ij")
    return radius - (x * x + y * y + z * z).sqrt()


LOW, HIGH = torch.tensor([-0.1, -0.12, -0.09]), torch.tensor([0.1, 0.12, 0.09])


def test_an_extracted_ball_has_its_radius_in_metres_and_winds_outwards():
    mesh = surface_at(_ball_field(), 0.0, LOW, HIGH)
    assert (mesh.vertices.norm(dim=-1) - 0.07).abs().max() < 1e-3
    outwards = (vertex_normals(mesh.vertices, mesh.triangles) * mesh.vertices).sum(-1)
    assert (outwards > 0.06).all()


def test_a_field_without_a_surface_gives_no_triangles():
    assert surface_at(_ball_field(), 5.0, LOW, HIGH).triangles.shape == (0, 3)


def test_a_field_with_holes_in_its_numbers_is_refused():
    field = _ball_field()
    field[3, 3, 3] = math.nan
    with pytest.raises(BadInput, match="not finite"):
        surface_at(field, 0.0, LOW, HIGH)


def test_normals_of_a_flat_sheet_point_off_it_and_triangles_without_area_do_no_harm():
    sheet = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3], [1, 1, 2]])
    sheet.requires_grad_()
    normals = vertex_normals(sheet, triangles)
    assert torch.equal(normals[:4].detach(), torch.tensor([[0.0, 0, 1]]).expand(4, 3))
    assert (normals[4] == 0).all()
    normals[:4].sum().backward()
    assert sheet.grad is not None
    assert sheet.grad.isfinite().all()


def test_uniform_light_in_harmonics_is_the_same_from_everywhere():
    light = torch.zeros(9, 3)
    light[0] = 1 / 0.28209479
    normals = torch.nn.functional.normalize(torch.randn(50, 3), dim=-1)
    torch.testing.assert_close(light_by_harmonics(normals, light), torch.ones(50, 3))


def test_a_lamp_lights_what_faces_it_and_nothing_behind():
    normals = torch.tensor([[0.0, 0, 1], [0, 0, -1], [1, 0, 0]])
    lit = light_from(normals, torch.tensor([0.0, 0, 9]), torch.ones(1), torch.full((1,), 0.1))
    torch.testing.assert_close(lit[:, 0], torch.tensor([1.1, 0.1, 0.1]))


def test_a_texture_sampled_at_its_texel_centres_is_itself():
    texture = torch.rand(5, 7, 3)
    y, x = torch.meshgrid((torch.arange(5) + 0.5) / 5, (torch.arange(7) + 0.5) / 7, indexing="ij")
    torch.testing.assert_close(sample_texture([texture], torch.stack([x, y], -1)), texture)


def test_the_last_mip_level_is_the_mean_and_levels_between_mix():
    texture = torch.rand(8, 8, 2)
    pyramid = mip_pyramid(texture)
    uv = torch.rand(6, 2)
    mean = texture.mean((0, 1)).expand(6, 2)
    torch.testing.assert_close(sample_texture(pyramid, uv, torch.full((6,), 9.0)), mean)
    between = sample_texture(pyramid, uv, torch.full((6,), 2.5))
    parts = sample_texture(pyramid, uv, torch.full((6,), 2.0)) + mean
    torch.testing.assert_close(between, parts / 2)


def test_a_quad_drawn_at_a_quarter_of_its_texture_takes_the_second_mip_level():
    quad = torch.tensor([[-1.0, -1, 4], [1, -1, 4], [1, 1, 4], [-1, 1, 4]])
    triangles = torch.tensor([[0, 2, 1], [0, 3, 2]])
    uv = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    seen = rasterise(pinhole(32.0, 16, 16, torch.eye(4)), quad, triangles)
    assert seen.mask.all()
    levels = mip_levels(seen, uv, triangles, (64, 64))
    torch.testing.assert_close(levels, torch.full((16, 16), 2.0))
