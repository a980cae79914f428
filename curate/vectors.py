"""What kernels ask of a processor beyond plain Python: bits, looks at many numbers at once.

LLVM makes vector instructions of some loops, but of none that ends early or keeps the smallest so
far; here they are written down. Each has a twin in plain Python, used where kernels are not
compiled.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.cpython.unsafe.numbers import leading_zeros as _leading_zeros
from numba.cpython.unsafe.numbers import trailing_zeros as _trailing_zeros
from numba.extending import intrinsic

_INT32 = cgutils.int32_t


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Where in memory the place lies that the first two arguments name."""
    made = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(made.data, [arguments[1]])


def _loaded(builder: Any, address: Any, count: int) -> Any:
    """So many numbers from an address on, as one vector."""
    kind = ir.VectorType(address.type.pointee, count)
    place = builder.bitcast(address, kind.as_pointer())
    return builder.load(place, align=address.type.pointee.width // 8)


def _repeated(builder: Any, number: Any, count: int) -> Any:
    """A vector of one number."""
    none = ir.Constant(ir.VectorType(number.type, count), ir.Undefined)
    first = builder.insert_element(none, number, _INT32(0))
    return builder.shuffle_vector(
        first, none, ir.Constant(ir.VectorType(_INT32, count), [0] * count)
    )


@intrinsic
def _prefetch(_context: Any, array: Any, place: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, *[_INT32] * 3])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To be read, kept as near as can be, data.
        how = (_INT32(word) for word in (0, 3, 1))
        builder.call(function, [builder.bitcast(address, cgutils.voidptr_t), *how])
        return context.get_dummy_value()

    return types.void(array, place), build


@intrinsic
def _ones(_context: Any, bits: Any) -> Any:
    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return bits(bits), build


@intrinsic
def _bytes_below(_context: Any, array: Any, place: Any, limit: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _loaded(builder, _address(context, builder, signature, arguments), 64)
        limits = _repeated(builder, builder.trunc(arguments[2], ir.IntType(8)), 64)
        return builder.bitcast(builder.icmp_signed("<", found, limits), ir.IntType(64))

    return types.uint64(array, place, limit), build


@intrinsic
def _least_of_32(_context: Any, array: Any, place: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = _loaded(builder, _address(context, builder, signature, arguments), 32)
        kind = ir.FunctionType(_INT32, [numbers.type])
        name = "llvm.vector.reduce.umin.v32i32"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [numbers])

    return types.uint32(array, place), build


@intrinsic
def _alike_of_8(_context: Any, array: Any, place: Any, key: Any, mask: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words = _loaded(builder, _address(context, builder, signature, arguments), 8)
        key, mask = (_repeated(builder, word, 8) for word in arguments[2:])
        differing = builder.and_(builder.xor(words, key), mask)
        alike = builder.icmp_unsigned("==", differing, ir.Constant(words.type, [0] * 8))
        return builder.zext(builder.bitcast(alike, ir.IntType(8)), ir.IntType(64))

    return types.uint64(array, place, key, mask), build


def _plain_prefetch(_array: Any, _place: Any) -> None:
    return None


def _plain_trailing_zeros(bits: Any) -> int:
    return (int(bits) & -int(bits)).bit_length() - 1 if bits else 64


def _plain_leading_zeros(bits: Any) -> int:
    return 64 - int(bits).bit_length()


def _plain_ones(bits: Any) -> int:
    return int(bits).bit_count()


def _plain_bytes_below(array: Any, place: Any, limit: Any) -> Any:
    signed = array[place : place + 64].view(np.int8)
    return np.packbits(signed < limit, bitorder="little").view(np.uint64)[0]


def _plain_least_of_32(array: Any, place: Any) -> Any:
    return array[place : place + 32].min()


def _plain_alike_of_8(array: Any, place: Any, key: Any, mask: Any) -> Any:
    alike = (array[place : place + 8] ^ key) & mask == 0
    return np.uint64(np.packbits(alike, bitorder="little")[0])


_settings: Any = numba.config
_PLAIN = bool(_settings.DISABLE_JIT)

# Ask for an entry of an array before it is needed: what is not in a core's own cache comes
# meanwhile.
prefetch: Any = _plain_prefetch if _PLAIN else _prefetch
# How many zeros 64 bits end in, and begin with; one instruction. numba has them for itself.
trailing_zeros: Any = _plain_trailing_zeros if _PLAIN else _trailing_zeros
leading_zeros: Any = _plain_leading_zeros if _PLAIN else _leading_zeros
# How many bits of a number are ones.
ones: Any = _plain_ones if _PLAIN else _ones
# Which of 64 bytes from a place on are below a limit, as signed numbers: a bit for each.
bytes_below: Any = _plain_bytes_below if _PLAIN else _bytes_below
# The smallest of 32 numbers of 32 bits from a place on.
least_of_32: Any = _plain_least_of_32 if _PLAIN else _least_of_32
# Which of eight words from a place on equal a key in the bits of a mask: a bit for each.
alike_of_8: Any = _plain_alike_of_8 if _PLAIN else _alike_of_8
