"""Loading a network in half precision while other threads compute."""

import sys
import threading
from contextlib import contextmanager

import pytest
import torch

from animate.checkpoints import load_pipeline
from animate.expression_loading import load_expression_pipeline
from animate.loading import undisturbed


@contextmanager
def dtypes_of_another_thread():
    """A set that fills with the dtypes of what another thread makes meanwhile."""
    seen, done = set(), threading.Event()

    def work():
        while not done.is_set():
            seen.update((torch.empty(1).dtype, torch.tensor(0.5).dtype, torch.get_default_dtype()))

    thread = threading.Thread(target=work)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)


LOADERS = [(load_pipeline, "tiny_pipeline_folder"), (load_expression_pipeline, "tiny_expression_folder")]
BOTH = pytest.mark.parametrize(("load", "folder"), LOADERS, ids=["full size", "expression"])


@BOTH
def test_other_threads_go_on_in_float32(load, folder, request):
    folder = request.getfixturevalue(folder)
    with dtypes_of_another_thread() as seen:
        for _ in range(3):
            load(folder, dtype=torch.float16)
    assert seen == {torch.float32}


@BOTH
def test_weights_are_those_of_the_files_in_the_dtype_asked_for(load, folder, request):
    folder = request.getfixturevalue(folder)
    full, half = load(folder), load(folder, dtype=torch.bfloat16)
    assert torch.get_default_dtype() == torch.float32
    kinds = set()
    for name, part in full.components.items():
        if isinstance(part, torch.nn.Module):
            other = dict(half.components[name].state_dict())
            for key, value in part.state_dict().items():
                kinds.add(other[key].dtype)
                assert torch.equal(value.to(other[key].dtype), other[key]), f"{name} {key}"
    assert torch.bfloat16 in kinds


class TestUndisturbed:
    def test_the_loading_thread_has_the_default_that_it_sets(self):
        with undisturbed():
            torch.set_default_dtype(torch.float16)
            made = torch.empty(2), torch.nn.Linear(2, 2).weight, torch.tensor([0.5]), torch.arange(0.0, 2.0)
            assert {value.dtype for value in (*made, torch.full((1,), 0.5))} == {torch.float16}
            assert torch.get_default_dtype() == torch.float16
            assert torch.arange(3).dtype == torch.int64 and torch.zeros(1, dtype=torch.float64).dtype == torch.float64
        assert torch.empty(1).dtype == torch.get_default_dtype() == torch.float32

    def test_another_thread_may_still_set_the_default_of_all(self):
        before, original = torch.get_default_dtype(), torch.set_default_dtype
        try:
            with undisturbed():
                thread = threading.Thread(target=lambda: torch.set_default_dtype(torch.float64))
                thread.start()
                thread.join()
            assert torch.get_default_dtype() == torch.float64
        finally:
            original(before)
        assert torch.set_default_dtype is original

    def test_one_network_is_loaded_at_a_time(self):
        inside = threading.Event()

        def enter():
            with undisturbed():
                inside.set()

        thread = threading.Thread(target=enter)
        with undisturbed():
            thread.start()
            assert not inside.wait(0.1)
        assert inside.wait(10)
        thread.join()

    def test_inside_another(self):
        with undisturbed(), undisturbed():
            torch.set_default_dtype(torch.bfloat16)
            assert torch.ones(1).dtype == torch.bfloat16
        assert torch.ones(1).dtype == torch.float32
