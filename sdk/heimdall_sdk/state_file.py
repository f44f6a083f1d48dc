"""State dicts as safetensors files: tensors as raw bytes, everything else as JSON; no pickle.

The tensor `heimdall.structure` holds the JSON. In it, a value that JSON does not know is an object
with one key that starts with `$`: `{"$tuple": [...]}`, `{"$tensor": "model.weight"}`.
"""

from __future__ import annotations

import base64
import ctypes
import json
import math
import struct
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heimdall_sdk.errors import CheckpointError

STRUCTURE = "heimdall.structure"
FORMAT = "heimdall-1"
_MAX_HEADER = 100_000_000  # the limit of the safetensors library

Buffer = memoryview
Json = Any

# safetensors dtype -> (name in torch, name in numpy, bytes per item)
_DTYPES = {
    "F64": ("float64", "float64", 8),
    "I64": ("int64", "int64", 8),
    "U64": ("uint64", "uint64", 8),
    "F32": ("float32", "float32", 4),
    "I32": ("int32", "int32", 4),
    "U32": ("uint32", "uint32", 4),
    "F16": ("float16", "float16", 2),
    "BF16": ("bfloat16", "", 2),
    "I16": ("int16", "int16", 2),
    "U16": ("uint16", "uint16", 2),
    "I8": ("int8", "int8", 1),
    "U8": ("uint8", "uint8", 1),
    "BOOL": ("bool", "bool", 1),
    "F8_E4M3": ("float8_e4m3fn", "", 1),
    "F8_E5M2": ("float8_e5m2", "", 1),
}
_BY_TORCH = {torch_name: dtype for dtype, (torch_name, _, _) in _DTYPES.items()}
_BY_NUMPY = {numpy_name: dtype for dtype, (_, numpy_name, _) in _DTYPES.items() if numpy_name}


@dataclass(frozen=True)
class _Tensor:
    dtype: str
    shape: tuple[int, ...]
    data: Buffer


def serialize(objects: Mapping[str, object], metadata: Mapping[str, str]) -> list[Buffer]:
    """The parts of the file, copied; raise CheckpointError that names what cannot be written."""
    encoder = _Encoder()
    try:
        structure = json.dumps(
            {name: encoder.encode(value, name) for name, value in objects.items()},
            allow_nan=False,
            separators=(",", ":"),
        ).encode()
    except RecursionError:
        raise CheckpointError(
            "A checkpointed object contains itself or is nested too deeply"
        ) from None
    tensors = encoder.tensors
    tensors[STRUCTURE] = _Tensor("U8", (len(structure),), memoryview(structure))
    # The widest first: every tensor is then aligned without gaps, which the format forbids.
    ordered = sorted(tensors.items(), key=lambda item: -_DTYPES[item[1].dtype][2])
    header: dict[str, object] = {"__metadata__": {**metadata, "format": "pt", "writer": FORMAT}}
    offset = 0
    for name, tensor in ordered:
        end = offset + tensor.data.nbytes
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > _MAX_HEADER:
        raise CheckpointError(
            f"The checkpoint has {len(tensors)} tensors; their names take {len(encoded)} bytes, "
            f"more than the {_MAX_HEADER} that the safetensors format allows"
        )
    start = memoryview(struct.pack("<Q", len(encoded)) + encoded)
    return [start, *(tensor.data for _, tensor in ordered)]


class StateFile:
    """A parsed safetensors file. Raises ValueError if the content is malformed."""

    def __init__(self, content: bytearray) -> None:
        self._content = memoryview(content)
        if len(content) < 8:
            raise ValueError("it is shorter than its header")
        (size,) = struct.unpack("<Q", self._content[:8])
        if size > len(content) - 8:
            raise ValueError("its header is longer than the file")
        header = json.loads(bytes(self._content[8 : 8 + size]))
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
        self.metadata: dict[str, str] = header.pop("__metadata__", {})
        self._start = 8 + size
        self._entries: dict[str, dict[str, Any]] = header
        self._structure: dict[str, Json] = {}
        if STRUCTURE in header:
            self._structure = json.loads(bytes(self._bytes(header[STRUCTURE])))

    @property
    def is_checkpoint(self) -> bool:
        """Whether the SDK wrote it; otherwise it is a plain file of tensors."""
        return STRUCTURE in self._entries

    @property
    def object_names(self) -> list[str]:
        return list(self._structure)

    def object(self, name: str) -> Any:
        return _Decoder(self).decode(self._structure[name])

    def torch_tensors(self) -> dict[str, Any]:
        """All tensors of a plain file, as a state dict."""
        return {name: self.torch_tensor(name) for name in self._entries if name != STRUCTURE}

    def torch_tensor(self, name: str) -> Any:
        import torch

        entry = self._entry(name)
        dtype = getattr(torch, _DTYPES[entry["dtype"]][0])
        data = self._bytes(entry)
        if not data.nbytes:
            return torch.empty(entry["shape"], dtype=dtype)
        # A separate copy: otherwise one small tensor would keep the whole file in memory.
        raw = torch.frombuffer(data, dtype=torch.uint8).clone()
        return raw.view(dtype).reshape(entry["shape"])

    def numpy_array(self, name: str) -> Any:
        import numpy as np

        entry = self._entry(name)
        dtype = np.dtype(_DTYPES[entry["dtype"]][1]).newbyteorder("<")
        return np.frombuffer(bytes(self._bytes(entry)), dtype).reshape(entry["shape"]).copy()

    def _entry(self, name: str) -> dict[str, Any]:
        try:
            return self._entries[name]
        except KeyError:
            raise ValueError(f"it has no tensor {name!r}") from None

    def _bytes(self, entry: Mapping[str, Any]) -> Buffer:
        begin, end = entry["data_offsets"]
        if not 0 <= begin <= end <= len(self._content) - self._start:
            raise ValueError("a tensor lies outside the file")
        return self._content[self._start + begin : self._start + end]


class _Encoder:
    def __init__(self) -> None:
        self.tensors: dict[str, _Tensor] = {}
        # Tied weights share their memory and are written once.
        self._names: dict[tuple[object, ...], str] = {}
        self._originals: list[object] = []

    def encode(self, value: object, path: str) -> Json:
        kind = type(value)
        if value is None or kind is bool or kind is str or kind is int:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$float": repr(value)}  # type: ignore[arg-type]
        encode = _ENCODERS.get(kind)
        if encode is not None:
            return encode(self, value, path)
        for library, encode_library in (("torch", self._torch), ("numpy", self._numpy)):
            if library in sys.modules:
                encoded = encode_library(value, path)
                if encoded is not None:
                    return encoded
        raise CheckpointError(
            f"{path} is of type {kind.__module__}.{kind.__qualname__}, which a checkpoint cannot "
            "hold. Leave it out, or store numbers, strings, lists, dicts, tensors or arrays"
        )

    def items(self, values: Any, path: str) -> list[Json]:
        return [self.encode(value, f"{path}[{index}]") for index, value in enumerate(values)]

    def pairs(self, mapping: Any, path: str) -> list[Json]:
        return [
            [self.encode(key, f"{path} key {key!r}"), self.encode(value, f"{path}.{key}")]
            for key, value in mapping.items()
        ]

    def _torch(self, value: Any, path: str) -> Json:
        torch = sys.modules["torch"]
        if isinstance(value, torch.Size):
            return {"$size": list(value)}
        if isinstance(value, torch.dtype):
            return {"$dtype": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"$device": str(value)}
        if not isinstance(value, torch.Tensor):
            return None
        if type(value) not in (torch.Tensor, torch.nn.Parameter):
            raise CheckpointError(
                f"{path} is a {type(value).__qualname__}, not a plain tensor: gather it first"
            )
        return self._torch_tensor(value.detach(), path)

    def _torch_tensor(self, value: Any, path: str) -> Json:
        torch = sys.modules["torch"]
        if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
            raise CheckpointError(
                f"{path} is a tensor with layout {value.layout} on device {value.device}"
                f"{', quantized' if value.is_quantized else ''}: only dense tensors with data can "
                "be stored"
            )
        is_complex = value.is_complex()
        if is_complex:
            value = torch.view_as_real(value.resolve_conj())
        dtype = _BY_TORCH.get(str(value.dtype).removeprefix("torch."))
        if dtype is None:
            raise CheckpointError(f"{path} has dtype {value.dtype}, which the format lacks")
        key = (value.data_ptr(), value.device, dtype, tuple(value.shape), value.stride())
        name = self._names.get(key) if value.numel() else None
        if name is None:
            stored = value.resolve_neg().cpu().contiguous()
            if stored.data_ptr() == value.data_ptr():
                stored = stored.clone()  # training continues while it is written
            tensor = _Tensor(dtype, tuple(stored.shape), _torch_memory(stored))
            # Kept alive: while its address is a key, it must not be used again.
            self._originals.append(value)
            name = self._names[key] = self._add(path, tensor)
        return {"$tensor": name, "complex": True} if is_complex else {"$tensor": name}

    def _numpy(self, value: Any, path: str) -> Json:
        np = sys.modules["numpy"]
        is_scalar = isinstance(value, np.generic)
        if not is_scalar and type(value) is not np.ndarray:
            return None
        array = np.array(value) if is_scalar else value
        shape = array.shape
        is_complex = array.dtype.kind == "c"
        if is_complex:
            array = np.stack([array.real, array.imag], axis=-1)
        dtype = _BY_NUMPY.get(array.dtype.name)
        if dtype is None:
            raise CheckpointError(f"{path} has dtype {array.dtype}, which the format lacks")
        # Of 0 dimensions, ascontiguousarray makes 1.
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        stored_shape = (*shape, 2) if is_complex else shape
        data = memoryview(array.tobytes())
        name = self._add(path, _Tensor(dtype, stored_shape, data))
        encoded = {"$scalar" if is_scalar else "$array": name}
        return {**encoded, "complex": True} if is_complex else encoded

    def _add(self, path: str, tensor: _Tensor) -> str:
        name, number = path, 1
        while name in self.tensors or name in (STRUCTURE, "__metadata__"):
            number += 1
            name = f"{path}#{number}"
        self.tensors[name] = tensor
        return name


def _torch_memory(tensor: Any) -> Buffer:
    """The bytes of a contiguous tensor on the CPU, without numpy; they keep the tensor alive."""
    size = tensor.numel() * tensor.element_size()
    if not size:
        return memoryview(b"")
    memory: Any = (ctypes.c_char * size).from_address(tensor.data_ptr())
    memory.tensor = tensor
    return memoryview(memory).cast("B")


def _encode_dict(encoder: _Encoder, value: Any, path: str) -> Json:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: encoder.encode(item, f"{path}.{key}") for key, item in value.items()}
    return {"$dict": encoder.pairs(value, path)}


def _encode_ordered(encoder: _Encoder, value: Any, path: str) -> Json:
    encoded = {"$ordered": encoder.pairs(value, path)}
    # The versions of a module's layers, by which load_state_dict converts older states.
    versions = getattr(value, "_metadata", None)
    if versions is not None:
        encoded["versions"] = encoder.encode(versions, f"{path}._metadata")
    return encoded


def _encode_default(encoder: _Encoder, value: Any, path: str) -> Json:
    factory = value.default_factory
    if factory not in _FACTORIES:
        raise CheckpointError(
            f"{path} is a defaultdict of {factory!r}; only {', '.join(_FACTORY_NAMES)} can be "
            "stored"
        )
    return {"$defaultdict": encoder.pairs(value, path), "factory": _FACTORIES[factory]}


_FACTORIES: dict[object, str] = {dict: "dict", list: "list", int: "int", float: "float", set: "set"}
_FACTORY_NAMES: dict[str, Any] = {name: kind for kind, name in _FACTORIES.items()}

_ENCODERS: dict[type, Callable[[_Encoder, Any, str], Json]] = {
    list: lambda encoder, value, path: encoder.items(value, path),
    tuple: lambda encoder, value, path: {"$tuple": encoder.items(value, path)},
    set: lambda encoder, value, path: {"$set": encoder.items(value, path)},
    frozenset: lambda encoder, value, path: {"$frozenset": encoder.items(value, path)},
    deque: lambda encoder, value, path: {
        "$deque": encoder.items(value, path),
        "maxlen": value.maxlen,
    },
    dict: _encode_dict,
    OrderedDict: _encode_ordered,
    defaultdict: _encode_default,
    Counter: lambda encoder, value, path: {"$counter": encoder.pairs(value, path)},
    bytes: lambda encoder, value, path: {"$bytes": base64.b64encode(value).decode()},
    complex: lambda encoder, value, path: {
        "$complex": [encoder.encode(value.real, path), encoder.encode(value.imag, path)]
    },
}


class _Decoder:
    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._tensors: dict[str, Any] = {}

    def decode(self, value: Json) -> Any:
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        tag = next(iter(value), "")
        if not tag.startswith("$"):
            return {key: self.decode(item) for key, item in value.items()}
        decode = _DECODERS.get(tag)
        if decode is None:
            raise ValueError(f"it contains {tag!r}, which this version of the SDK does not know")
        return decode(self, value[tag], value)

    def pairs(self, pairs: Json) -> list[tuple[Any, Any]]:
        return [(self.decode(key), self.decode(item)) for key, item in pairs]

    def tensor(self, name: str, encoded: Mapping[str, Json]) -> Any:
        # The same object for the same name, as it was.
        if name not in self._tensors:
            tensor = self._file.torch_tensor(name)
            if encoded.get("complex"):
                import torch

                tensor = torch.view_as_complex(tensor)
            self._tensors[name] = tensor
        return self._tensors[name]

    def array(self, name: str, encoded: Mapping[str, Json]) -> Any:
        array = self._file.numpy_array(name)
        if encoded.get("complex"):
            array = array.view("c8" if array.dtype.itemsize == 4 else "c16")[..., 0]
        return array

    def ordered(self, pairs: Json, encoded: Mapping[str, Json]) -> Any:
        value: Any = OrderedDict(self.pairs(pairs))
        if "versions" in encoded:
            vars(value)["_metadata"] = self.decode(encoded["versions"])
        return value

    @staticmethod
    def dtype(name: str) -> Any:
        import torch

        return getattr(torch, name)

    @staticmethod
    def device(name: str) -> Any:
        import torch

        return torch.device(name)

    @staticmethod
    def size(shape: list[int]) -> Any:
        import torch

        return torch.Size(shape)


_DECODERS: dict[str, Callable[[_Decoder, Json, Mapping[str, Json]], Any]] = {
    "$float": lambda _decoder, value, _all: float(value),
    "$tuple": lambda decoder, value, _all: tuple(decoder.decode(value)),
    "$set": lambda decoder, value, _all: set(decoder.decode(value)),
    "$frozenset": lambda decoder, value, _all: frozenset(decoder.decode(value)),
    "$deque": lambda decoder, value, encoded: deque(decoder.decode(value), encoded["maxlen"]),
    "$dict": lambda decoder, value, _all: dict(decoder.pairs(value)),
    "$ordered": lambda decoder, value, encoded: decoder.ordered(value, encoded),
    "$counter": lambda decoder, value, _all: Counter(dict(decoder.pairs(value))),
    "$defaultdict": lambda decoder, value, encoded: defaultdict(
        _FACTORY_NAMES[encoded["factory"]], decoder.pairs(value)
    ),
    "$bytes": lambda _decoder, value, _all: base64.b64decode(value),
    "$complex": lambda decoder, value, _all: complex(*decoder.decode(value)),
    "$tensor": lambda decoder, value, encoded: decoder.tensor(value, encoded),
    "$array": lambda decoder, value, encoded: decoder.array(value, encoded),
    "$scalar": lambda decoder, value, encoded: decoder.array(value, encoded)[()],
    "$dtype": lambda decoder, value, _all: decoder.dtype(value),
    "$device": lambda decoder, value, _all: decoder.device(value),
    "$size": lambda decoder, value, _all: decoder.size(value),
}
