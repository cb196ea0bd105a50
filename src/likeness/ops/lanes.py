"""Eight float32 numbers (or two, or four) worked on as one, inside compiled kernels.

Loops of eight are usually turned into vector instructions by the compiler, but not reliably: on
some machines one of three inner loops stayed scalar, and drawing took four times as long. These
few operations are vector instructions from the start, on any machine that has them, in a fixed
order of sums. They can only be used in compiled functions; operands may be lanes or one float32.
"""

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, types
from numba.core import cgutils
from numba.core.extending import lower_builtin, models, register_model
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature

from likeness.ops.jit import intrinsic

LANES = 8
_FLAGS = ("contract", "nsz", "arcp")  # bad numbers stay bad numbers
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_WHOLE = ir.VectorType(ir.IntType(32), LANES)
_TWICE = ir.VectorType(ir.FloatType(), 2 * LANES)


class _Lanes(types.Type):
    def __init__(self, count: int) -> None:
        super().__init__(name=f"{count}_float32")
        self.count = count


lanes = _Lanes(LANES)
both = _Lanes(2 * LANES)  # two times eight: rows of a picture, one below the other
_rows = {types.complex64: _Lanes(2), types.complex128: _Lanes(4)}


@register_model(_Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.FloatType(), kind.count))


def _spread(builder: Any, value: Any, vector: Any = _VECTOR) -> Any:
    """A scalar in all lanes; lanes as they are."""
    if value.type == vector:
        return value
    none = ir.Constant(ir.IntType(32), 0)
    empty = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(empty, value, none)
    same = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, empty, same)


def _constant(kind: Any, value: float) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _whole(vector: Any) -> Any:
    """Lanes of whole numbers, as many as there are in `vector`."""
    return ir.VectorType(ir.IntType(32), vector.count)


def _widest(*kinds: Any) -> Any:
    """Which of these types are lanes; eight if none is."""
    return next((kind for kind in kinds if isinstance(kind, _Lanes)), lanes)


def _operator(symbol: Any, name: str) -> None:
    cases = []
    for kind in (lanes, both, *_rows.values()):
        cases += [signature(kind, a, b) for a, b in ((kind, kind), (kind, float32))]
        cases.append(signature(kind, float32, kind))
    register: Any = infer_global(symbol)
    register(type(f"Lanes_{name}", (ConcreteTemplate,), {"cases": cases}))

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(sig.return_type)
        a, b = (_spread(builder, x, vector) for x in args)
        return getattr(builder, name)(a, b, flags=_FLAGS)

    for case in cases:
        lower_builtin(symbol, *case.args)(lower)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")
_operator(operator.iadd, "fadd")
_operator(operator.isub, "fsub")


def _place(
    context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Any = _VECTOR
) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Eight rows of eight to eight columns: the first numbers of all, the second ones, and on."""
    for size in (1, 2, 4):  # swap blocks of this size across the diagonal
        for i in range(LANES):
            if i & size:
                continue
            pair = rows[i], rows[i + size]
            left = [n - size + LANES if n & size else n for n in range(LANES)]
            right = [n + LANES if n & size else n + size for n in range(LANES)]
            for row, order in ((i, left), (i + size, right)):
                rows[row] = builder.shuffle_vector(*pair, ir.Constant(_WHOLE, order))
    return rows


@intrinsic
def number(_: Any, array: Any, index: Any) -> Any:
    """One number of a flat array; an index below zero is not one from the end."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.load(builder.gep(data, [args[1]]))

    return signature(array.dtype, array, types.intp), generate


@intrinsic
def load(_: Any, array: Any, index: Any) -> Any:
    """Eight numbers of a flat float32 array from `index` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_place(context, builder, sig.args[0], *args), align=4)

    return signature(lanes, array, types.intp), generate


@intrinsic
def load_both(_: Any, array: Any, index: Any) -> Any:
    """Two times eight numbers, one after the other."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(
            _place(context, builder, sig.args[0], args[0], args[1], _TWICE), align=4
        )

    return signature(both, array, types.intp), generate


@intrinsic
def halves_added(_: Any, value: Any) -> Any:
    """The first eight and the last eight, as eight."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low, high = (
            builder.shuffle_vector(args[0], args[0], ir.Constant(_WHOLE, list(places)))
            for places in (range(LANES), range(LANES, 2 * LANES))
        )
        return builder.fadd(low, high, flags=_FLAGS)

    return signature(lanes, both), generate


@intrinsic
def strided(_: Any, array: Any, index: Any, step: Any) -> Any:
    """Eight numbers of a flat float32 array from `index` on, each `step` after the last."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        found: Any = ir.Constant(_VECTOR, ir.Undefined)
        at = args[1]
        for i in range(LANES):
            number = builder.load(builder.gep(data, [at]))
            found = builder.insert_element(found, number, ir.Constant(ir.IntType(32), i))
            at = builder.add(at, args[2])
        return found

    return signature(lanes, array, types.intp, types.intp), generate


@intrinsic
def load_turned(_: Any, array: Any, lists: Any, index: Any, last: Any) -> Any:
    """Eight lanes out of lines of 16 numbers: the first numbers of eight lines, the second ones,
    up to the eighth. The lines are listed from `index` on (the one at `last` again after it)."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        listed = context.make_array(sig.args[1])(context, builder, args[1]).data
        rows = []
        for i in range(LANES):
            at = builder.add(args[2], ir.Constant(args[2].type, i))
            at = builder.select(builder.icmp_signed("<", at, args[3]), at, args[3])
            row = builder.zext(builder.load(builder.gep(listed, [at])), args[2].type)
            place = builder.gep(data, [builder.shl(row, ir.Constant(row.type, 4))])
            rows.append(builder.load(builder.bitcast(place, _VECTOR.as_pointer()), align=4))
        return context.make_tuple(builder, sig.return_type, _turned(builder, rows))

    kind = types.UniTuple(lanes, LANES)
    return signature(kind, array, lists, types.intp, types.intp), generate


@intrinsic
def store_turned(
    _: Any, array: Any, index: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any
) -> Any:
    """Eight lanes into lines of 16 numbers, the first of which begins at `index`: a number of each
    lane, in this order."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for i, row in enumerate(_turned(builder, list(args[2:]))):
            at = builder.add(args[1], ir.Constant(args[1].type, 16 * i))
            builder.store(row, _place(context, builder, sig.args[0], args[0], at), align=4)
        return context.get_dummy_value()

    return signature(types.none, array, types.intp, *[lanes] * LANES), generate


@intrinsic
def finite(_: Any, a: Any, b: Any) -> Any:
    """1 if none of these sixteen numbers is infinite or none, else 0: told by bits."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        full = _constant(_WHOLE, 0x7F800000)
        one, other = (builder.and_(builder.bitcast(x, _WHOLE), full) for x in args)
        bad = builder.or_(
            builder.icmp_unsigned("==", one, full), builder.icmp_unsigned("==", other, full)
        )
        flags = builder.bitcast(bad, ir.IntType(LANES))
        fine = builder.icmp_unsigned("==", flags, ir.Constant(flags.type, 0))
        return builder.zext(fine, ir.IntType(64))

    return signature(types.int64, lanes, lanes), generate


@intrinsic
def store(_: Any, array: Any, index: Any, value: Any) -> Any:
    """Write lanes (one number: eight times) to a flat float32 array from `index` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(_widest(sig.args[2]))
        place = _place(context, builder, sig.args[0], args[0], args[1], vector)
        builder.store(_spread(builder, args[2], vector), place, align=4)
        return context.get_dummy_value()

    return signature(types.none, array, types.intp, value), generate


def _row_place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    vector = context.get_value_type(_rows[kind.dtype])
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


@intrinsic
def load_row(_: Any, array: Any, index: Any) -> Any:
    """Two or four float32 numbers that a flat array keeps as one complex number."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_row_place(context, builder, sig.args[0], *args), align=4)

    return signature(_rows[array.dtype], array, types.intp), generate


@intrinsic
def store_row(_: Any, array: Any, index: Any, value: Any) -> Any:
    """Write them."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _row_place(context, builder, sig.args[0], *args[:2])
        builder.store(args[2], place, align=4)
        return context.get_dummy_value()

    return signature(types.none, array, types.intp, value), generate


@intrinsic
def store_threes(_: Any, array: Any, index: Any, a: Any, b: Any, c: Any) -> Any:
    """Write eight times three numbers to a flat float32 array from `index` on: one of each."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole = ir.IntType(32)
        nothing, wide = ir.Constant(_VECTOR, ir.Undefined), ir.VectorType(whole, 2 * LANES)
        both = ir.Constant(wide, list(range(2 * LANES)))
        one = builder.shuffle_vector(args[2], args[3], both)
        other = builder.shuffle_vector(args[4], nothing, both)
        for part in range(3):
            places = range(part * LANES, (part + 1) * LANES)  # of the 24, channels fastest
            order = [(n % 3) * LANES + n // 3 for n in places]
            mixed = builder.shuffle_vector(one, other, ir.Constant(_WHOLE, order))
            at = builder.add(args[1], ir.Constant(args[1].type, part * LANES))
            builder.store(mixed, _place(context, builder, sig.args[0], args[0], at), align=4)
        return context.get_dummy_value()

    return signature(types.none, array, types.intp, a, b, c), generate


@intrinsic
def prefetch(_: Any, array: Any, index: Any) -> Any:
    """Ask for a place of a flat array, to be read soon."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        whole, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        how = [ir.Constant(whole, x) for x in (0, 3, 1)]  # to read, keep near, data
        builder.call(ask, [builder.bitcast(builder.gep(data, [args[1]]), byte), *how])
        return context.get_dummy_value()

    return signature(types.none, array, types.intp), generate


@intrinsic
def steps(_: Any, start: Any) -> Any:
    """start, start + 1, ... start + 7."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ramp = ir.Constant(_VECTOR, [float(i) for i in range(LANES)])
        return builder.fadd(_spread(builder, args[0]), ramp, flags=_FLAGS)

    return signature(lanes, float32), generate


@intrinsic
def steps_twice(_: Any, start: Any) -> Any:
    """start, ... start + 7, and the same again."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ramp = ir.Constant(_TWICE, [float(i % LANES) for i in range(2 * LANES)])
        return builder.fadd(_spread(builder, args[0], _TWICE), ramp, flags=_FLAGS)

    return signature(both, float32), generate


@intrinsic
def and_below(_: Any, start: Any) -> Any:
    """start eight times, then start + 1 eight times."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ramp = ir.Constant(_TWICE, [float(i // LANES) for i in range(2 * LANES)])
        return builder.fadd(_spread(builder, args[0], _TWICE), ramp, flags=_FLAGS)

    return signature(both, float32), generate


@intrinsic
def sound(_: Any, value: Any) -> Any:
    """Numbers as they are, zero for what is infinite or none."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits, full = builder.bitcast(args[0], _WHOLE), _constant(_WHOLE, 0x7F800000)
        fine = builder.icmp_unsigned("!=", builder.and_(bits, full), full)
        kept = builder.select(fine, bits, _constant(_WHOLE, 0))
        return builder.bitcast(kept, _VECTOR)

    return signature(lanes, lanes), generate


def _bound(name: str, test: str) -> Any:
    @intrinsic
    def bound(_: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vector = context.get_value_type(sig.return_type)
            x, y = (_spread(builder, v, vector) for v in args)
            return builder.select(builder.fcmp_ordered(test, x, y, flags=_FLAGS), x, y)

        return signature(_widest(a, b), a, b), generate

    bound.__name__ = name
    return bound


lower = _bound("lower", "<")
"""The lower of two, lane by lane."""
higher = _bound("higher", ">")
"""The higher of two, lane by lane."""


def _of_one(name: str, instruction: str) -> Any:
    @intrinsic
    def of_one(_: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = ir.FunctionType(_VECTOR, [_VECTOR])
            full = f"llvm.{instruction}.v{LANES}f32"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), args)

        return signature(lanes, lanes), generate

    of_one.__name__ = name
    return of_one


root = _of_one("root", "sqrt")
"""Square roots of numbers that are not negative."""
down = _of_one("down", "floor")
"""The next whole numbers below."""
up = _of_one("up", "ceil")
"""The next whole numbers above."""


@intrinsic
def where_least(_: Any, test: Any, least: Any, value: Any) -> Any:
    """`value` in the lanes where `test` is at least `least`, zero in the others."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(sig.return_type)
        a, b, c = (_spread(builder, v, vector) for v in args)
        kept = builder.fcmp_ordered(">=", a, b, flags=_FLAGS)
        return builder.select(kept, c, _constant(vector, 0.0))

    return signature(_widest(test, least, value), test, least, value), generate


@intrinsic
def which(_: Any, test: Any, least: Any, value: Any, other: Any) -> Any:
    """`value` in the lanes where `test` is at least `least`, `other` in the others."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(sig.return_type)
        a, b, c, d = (_spread(builder, v, vector) for v in args)
        return builder.select(builder.fcmp_ordered(">=", a, b, flags=_FLAGS), c, d)

    return signature(_widest(test, least, value, other), test, least, value, other), generate


@intrinsic
def added(_: Any, value: Any) -> Any:
    """The sum over lanes: halves onto each other, three times."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = args[0]
        for half in (4, 2, 1):
            order = [(i + half) % LANES for i in range(LANES)]
            turned = builder.shuffle_vector(sums, sums, ir.Constant(_WHOLE, order))
            sums = builder.fadd(sums, turned, flags=_FLAGS)
        return builder.extract_element(sums, ir.Constant(ir.IntType(32), 0))

    return signature(float32, lanes), generate


@intrinsic
def each_added(_: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """The sums over lanes of eight, as lanes: neighbours are added until one is left of each."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = list(args)
        while len(rows) > 1:  # lanes hold a number of each row so far, in the order of rows
            even, odd = list(range(0, 2 * LANES, 2)), list(range(1, 2 * LANES, 2))
            rows = [
                builder.fadd(
                    builder.shuffle_vector(a, b, ir.Constant(_WHOLE, even)),
                    builder.shuffle_vector(a, b, ir.Constant(_WHOLE, odd)),
                    flags=_FLAGS,
                )
                for a, b in zip(rows[::2], rows[1::2])
            ]
        return rows[0]

    return signature(lanes, *[lanes] * LANES), generate


@intrinsic
def power_of_two(_: Any, x: Any, factors: Any) -> Any:
    """2^x of numbers in [-120, 120] to 1e-7, without a library call.

    `factors` are `FACTORS`, handed in: compiled in, the address of each would be fetched first.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[1])(context, builder, args[1]).data
        vector = context.get_value_type(sig.return_type)
        bits = _whole(vector)

        def factor(i: int) -> Any:
            place = builder.gep(data, [ir.Constant(ir.IntType(64), i)])
            return _spread(builder, builder.load(place), vector)

        # Adding three halves of 2^24 leaves no room for fractions: rounds to whole numbers.
        whole = builder.fadd(args[0], factor(0), flags=_FLAGS)
        f = builder.fsub(args[0], builder.fsub(whole, factor(0), flags=_FLAGS), flags=_FLAGS)
        p = factor(1)
        for i in range(2, len(FACTORS)):
            p = builder.fadd(builder.fmul(p, f, flags=_FLAGS), factor(i), flags=_FLAGS)
        raised = builder.shl(builder.bitcast(whole, bits), _constant(bits, 23))
        return builder.bitcast(builder.add(builder.bitcast(p, bits), raised), vector)

    return signature(x, x, factors), generate


@intrinsic
def logarithm_of_two(_: Any, x: Any, terms: Any) -> Any:
    """Binary logarithms of normal positive numbers to 2e-7; `terms` are `TERMS`, handed in."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[1])(context, builder, args[1]).data
        bits = builder.bitcast(args[0], _WHOLE)
        # The exponent of x / sqrt(1/2), so that what is left lies between sqrt(1/2) and sqrt(2).
        least = _constant(_WHOLE, 0x3F3504F3)
        exponent = builder.ashr(builder.sub(bits, least), _constant(_WHOLE, 23))
        rest = builder.sub(bits, builder.shl(exponent, _constant(_WHOLE, 23)))
        f = builder.fsub(builder.bitcast(rest, _VECTOR), _constant(_VECTOR, 1.0), flags=_FLAGS)
        sums: Any = None
        for i in range(len(TERMS)):
            place = builder.gep(data, [ir.Constant(ir.IntType(64), i)])
            term = _spread(builder, builder.load(place))
            if sums is not None:
                term = builder.fadd(builder.fmul(sums, f, flags=_FLAGS), term, flags=_FLAGS)
            sums = term
        whole = builder.sitofp(exponent, _VECTOR)
        return builder.fadd(builder.fmul(sums, f, flags=_FLAGS), whole, flags=_FLAGS)

    return signature(lanes, lanes, terms), generate


FACTORS = np.array(
    [
        12582912.0,
        1.32764607e-3,
        9.67554124e-3,
        5.55071331e-2,
        2.40221197e-1,
        6.93146967e-1,
        1.00000007,
    ],
    np.float32,
)
"""What rounds, then the terms of 2^f for f in [-1/2, 1/2], highest power first."""

TERMS = np.array(
    [
        1.261484660e-01,
        -2.074210351e-01,
        2.156698591e-01,
        -2.389203398e-01,
        2.879183245e-01,
        -3.607048281e-01,
        4.809106099e-01,
        -7.213473334e-01,
        1.442695004e00,
    ],
    np.float32,
)
"""The terms of log2(1 + f) / f for f in [sqrt(1/2) - 1, sqrt(2) - 1], highest power first."""
