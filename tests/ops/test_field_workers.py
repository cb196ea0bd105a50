import multiprocessing
import os

import numba
import pytest
import torch

from likeness.nn.mlp import MLP
from likeness.ops.hash_grid import HashLayout, hash_encode
from likeness.ops.twins import one_for_torch, threads

LAYOUT = HashLayout(levels=4, features=2, coarsest=4, finest=32, log2_size=10)


def work(seed: int) -> tuple[float, float]:
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(20_000, 3, generator=g)
    table = torch.randn(1, LAYOUT.entries, 2, generator=g)
    with torch.no_grad():
        network = MLP([3, 16, 2], generator=g)
        return hash_encode(x, table, LAYOUT).sum().item(), network(x).sum().item()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_process_that_has_worked_get_the_same_results(how):
    if how == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    here = [work(seed) for seed in range(3)]
    with multiprocessing.get_context(how).Pool(2) as pool:
        there = pool.map_async(work, range(3)).get(60)
    for ours, theirs in zip(here, there):
        assert theirs == pytest.approx(ours, rel=1e-4, abs=0.05)


def test_numbas_pool_leaves_the_number_of_torch_threads_alone():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        work(0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread is all there is")
def test_kernels_keep_their_threads_where_torch_has_one():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        expected = work(1)
        with one_for_torch():
            assert torch.get_num_threads() == 1
            found = work(1)
            assert torch.get_num_threads() == 1
            assert threads() == numba.get_num_threads() == 2
        assert torch.get_num_threads() == threads() == 2
        assert found == pytest.approx(expected, rel=1e-5)
    finally:
        torch.set_num_threads(before)
