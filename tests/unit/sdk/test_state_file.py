"""Checkpointed objects are restored unchanged; errors name what cannot be stored."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from heimdall_sdk import CheckpointError
from heimdall_sdk.state_file import StateFile, serialize


def round_trip(value: object) -> object:
    content = b"".join(bytes(part) for part in serialize({"value": value}, {"epoch": "3"}))
    return StateFile(bytearray(content)).object("value")


def assert_same(found: object, expected: object) -> None:
    assert type(found) is type(expected)
    match expected:
        case torch.Tensor():
            assert found.dtype == expected.dtype  # type: ignore[attr-defined]
            assert found.shape == expected.shape  # type: ignore[attr-defined]
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
        case np.ndarray() | np.generic():
            assert found.dtype == expected.dtype  # type: ignore[attr-defined]
            np.testing.assert_array_equal(found, expected)
        case dict():
            assert list(found) == list(expected)  # type: ignore[call-overload]
            for key, item in expected.items():
                assert_same(found[key], item)  # type: ignore[index]
        case list() | tuple() | deque():
            assert len(found) == len(expected)  # type: ignore[arg-type]
            for one, other in zip(found, expected, strict=True):  # type: ignore[call-overload]
                assert_same(one, other)
        case float() if math.isnan(expected):
            assert math.isnan(found)  # type: ignore[arg-type]
        case _:
            assert found == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -0.0,
        1e-320,
        math.nan,
        -math.inf,
        2**200,
        "ä\ud800",
        b"\0\xff",
        1 + 2j,
        [1, [2.5, (3, None)], ()],
        {1: {"a": [1]}, "1": 2, (3, 4): 5, None: 6},
        {"$tuple": [1], "$tensor": "x"},
        {"a.b": 1, "a": {"b": 2}},
        {1, 2},
        frozenset({"x"}),
        deque([1, 2], maxlen=5),
        Counter({3: 1}),
        defaultdict(list, {"a": [1]}),
        OrderedDict([("b", 1), ("a", 2)]),
        np.float32(1.5),
        np.int64(-3),
        np.array(["1"]).shape,
        np.arange(6, dtype=np.uint32).reshape(2, 3).T,
        np.array(2.5),
        np.zeros((0, 3), dtype=np.int16),
        np.array([1 + 2j, 3j]),
        np.complex64(1 - 2j),
        np.arange(3, dtype=">i4").astype("<i4"),
        torch.Size([1, 2]),
        torch.float16,
        torch.device("cpu"),
    ],
    ids=repr,
)
def test_value_survives_the_round_trip(value: object) -> None:
    assert_same(round_trip(value), value)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8,
        torch.int8, torch.int16, torch.int32, torch.int64, torch.complex64, torch.complex128,
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_tensor_survives_the_round_trip(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape).mul(3).to(dtype)

    assert_same(round_trip({"t": [tensor, tensor.mT if tensor.ndim == 2 else tensor]}), {
        "t": [tensor, tensor.mT if tensor.ndim == 2 else tensor]
    })  # fmt: skip


def test_snapshot_does_not_change_with_the_live_objects() -> None:
    state = {"w": torch.ones(1000), "n": np.ones(1000), "l": [1]}
    parts = serialize({"value": state}, {})

    for value in (state["w"], state["n"]):
        value.fill_(0) if isinstance(value, torch.Tensor) else value.fill(0)  # type: ignore[attr-defined]
    state["l"].append(2)  # type: ignore[attr-defined]
    del state, value

    found = StateFile(bytearray(b"".join(parts))).object("value")
    assert_same(found, {"w": torch.ones(1000), "n": np.ones(1000), "l": [1]})


def test_tied_weights_are_written_once_and_stay_one_tensor() -> None:
    weight = torch.randn(100, 100)

    found = round_trip({"embedding": weight, "head": weight})

    assert found["embedding"] is found["head"]  # type: ignore[index]
    size = sum(part.nbytes for part in serialize({"m": {"a": weight, "b": weight}}, {}))
    assert size < 2 * weight.nbytes


def test_every_optimizer_scheduler_and_scaler_state_is_restored() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizers = [
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        torch.optim.AdamW(model.parameters(), amsgrad=True),
        torch.optim.RMSprop(model.parameters(), centered=True),
        torch.optim.Adagrad(model.parameters()),
        torch.optim.LBFGS(model.parameters(), max_iter=2),
    ]

    def closure() -> float:
        model.zero_grad()
        loss = model(torch.ones(5, 3) * torch.arange(5)[:, None]).square().sum()
        loss.backward()
        return float(loss.detach())

    for optimizer in optimizers:
        optimizer.step(closure)
    schedulers = torch.optim.lr_scheduler
    sgd = optimizers[0]
    states: list[object] = [
        model.state_dict(),
        *(optimizer.state_dict() for optimizer in optimizers),
        schedulers.MultiStepLR(sgd, [3, 5]).state_dict(),
        schedulers.OneCycleLR(sgd, 0.1, total_steps=10).state_dict(),
        schedulers.ReduceLROnPlateau(sgd).state_dict(),
        schedulers.CosineAnnealingWarmRestarts(sgd, 3).state_dict(),
        schedulers.SequentialLR(
            sgd, [schedulers.ConstantLR(sgd), schedulers.ExponentialLR(sgd, 0.9)], [2]
        ).state_dict(),
        torch.amp.GradScaler("cpu").state_dict(),
        torch.get_rng_state(),
        np.random.get_state(),  # noqa: NPY002
        np.random.default_rng(3).bit_generator.state,
        torch.optim.swa_utils.AveragedModel(model).state_dict(),
    ]

    for state in states:
        assert_same(round_trip(state), state)


def test_model_state_keeps_versions_of_its_layers() -> None:
    state = torch.nn.BatchNorm1d(4).state_dict()

    found = round_trip(state)

    assert found._metadata == state._metadata  # type: ignore[attr-defined]


class Unknown:
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [0, Unknown()]}, r"value\.a\[1\] is of type .*Unknown"),
        ({"f": len}, r"value\.f is of type builtins\.builtin_function_or_method"),
        ({"t": torch.zeros(2).to_sparse()}, r"value\.t is a tensor with layout torch\.sparse_coo"),
        ({"t": torch.empty(2, device="meta")}, r"value\.t .* device meta"),
        ({"n": np.array([None])}, r"value\.n has dtype object"),
        ({"d": defaultdict(Unknown)}, r"value\.d is a defaultdict"),
        ({Unknown: 1}, r"value key .* is of type builtins\.type"),
    ],
)
def test_error_for_an_unstorable_object_names_its_path(value: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        round_trip(value)


def test_self_referential_object_is_rejected() -> None:
    value: list[object] = []
    value.append(value)

    with pytest.raises(CheckpointError, match="contains itself"):
        round_trip(value)


def test_safetensors_library_reads_the_file(tmp_path: Path) -> None:
    state = {"w": torch.randn(3, 2, dtype=torch.bfloat16), "flags": torch.tensor([True, False])}
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"".join(bytes(part) for part in serialize({"model": state}, {"epoch": "3"})))

    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata()["epoch"] == "3"
        assert_same(file.get_tensor("model.w"), state["w"])
        assert_same(file.get_tensor("model.flags"), state["flags"])


@pytest.mark.parametrize("size", [0, 7, 8, 40])
def test_truncated_content_is_an_error(size: int) -> None:
    content = b"".join(bytes(part) for part in serialize({"value": torch.ones(9)}, {}))

    with pytest.raises(ValueError, match=r"header|Expecting|Unterminated"):
        StateFile(bytearray(content[:size]))
