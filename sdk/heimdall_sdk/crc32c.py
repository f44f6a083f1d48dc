"""The checksum of TFRecords: CRC-32C (Castagnoli), with the standard library only.

A table takes 100 ms for a megabyte. Long data are therefore folded first, with the arithmetic of
long integers: 15 ms.
"""

from __future__ import annotations

_POLYNOMIAL = 0x82F63B78  # bit i is the coefficient of x^(31 - i), as in all numbers below
_FOLD_BYTES = 4096


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecords store it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    if len(data) > _FOLD_BYTES:
        data, crc = _fold(data), 0
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _fold(data: bytes) -> bytes:
    """Shorter data with the same remainder, for a checksum that starts with 0.

    `head * x^n + rest` has the remainder of `head * (x^n mod P) + rest`, which has about half as
    many bits.
    """
    size = 8 * len(data)
    number = int.from_bytes(data, "little") ^ 0xFFFFFFFF
    while size > 8 * _FOLD_BYTES:
        head_size = (size // 2 - 32) // 8 * 8
        rest_size = size - head_size
        head, rest = number & ((1 << head_size) - 1), number >> head_size
        product = _multiply(head, _power_of_x(rest_size))
        number = rest ^ product << (rest_size - head_size - 31)
        size = rest_size
    return number.to_bytes(size // 8, "little")


def _multiply(left: int, right: int) -> int:
    """Without carries; the result has one bit less than both together."""
    result = 0
    for bit in range(32):
        if right >> bit & 1:
            result ^= left << bit
    return result


def _power_of_x(exponent: int) -> int:
    """x^exponent modulo the polynomial."""
    result, base = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            result = _multiply_modulo(result, base)
        base = _multiply_modulo(base, base)
        exponent >>= 1
    return result


def _multiply_modulo(left: int, right: int) -> int:
    result = 0
    for bit in range(31, -1, -1):
        if right >> bit & 1:
            result ^= left
        left = _times_x(left)
    return result


def _times_x(number: int) -> int:
    return number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = _times_x(byte)
    return byte


_TABLE = [_table_entry(byte) for byte in range(256)]
