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
VECTOR = ir.VectorType(ir.FloatType(), LANES)
WHOLE = ir.VectorType(ir.IntType(32), LANES)
TWICE = ir.VectorType(ir.FloatType(), 2 * LANES)


class Lanes(types.Type):
    def __init__(self, count: int) -> None:
        super().__init__(name=f"{count}_float32")
        self.count = count


lanes = Lanes(LANES)
both = Lanes(2 * LANES)  # two times eight: rows of a picture, one below the other
rows_of = {types.complex64: Lanes(2), types.complex128: Lanes(4)}


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.FloatType(), kind.count))


def spread(builder: Any, value: Any, vector: Any = VECTOR) -> Any:
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


def widest(*kinds: Any) -> Any:
    """Which of these types are lanes; eight if none is."""
    return next((kind for kind in kinds if isinstance(kind, Lanes)), lanes)


def _operator(symbol: Any, name: str) -> None:
    cases = []
    for kind in (lanes, both, *rows_of.values()):
        cases += [signature(kind, a, b) for a, b in ((kind, kind), (kind, float32))]
        cases.append(signature(kind, float32, kind))
    register: Any = infer_global(symbol)
    register(type(f"Lanes_{name}", (ConcreteTemplate,), {"cases": cases}))

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(sig.return_type)
        a, b = (spread(builder, x, vector) for x in args)
        return getattr(builder, name)(a, b, flags=_FLAGS)

    for case in cases:
        lower_builtin(symbol, *case.args)(lower)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")
_operator(operator.iadd, "fadd")
_operator(operator.isub, "fsub")


@intrinsic
def halves_added(_: Any, value: Any) -> Any:
    """The first eight and the last eight, as eight."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low, high = (
            builder.shuffle_vector(args[0], args[0], ir.Constant(WHOLE, list(places)))
            for places in (range(LANES), range(LANES, 2 * LANES))
        )
        return builder.fadd(low, high, flags=_FLAGS)

    return signature(lanes, both), generate


@intrinsic
def finite(_: Any, a: Any, b: Any) -> Any:
    """1 if none of these sixteen numbers is infinite or none, else 0: told by bits."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        full = _constant(WHOLE, 0x7F800000)
        one, other = (builder.and_(builder.bitcast(x, WHOLE), full) for x in args)
        bad = builder.or_(
            builder.icmp_unsigned("==", one, full), builder.icmp_unsigned("==", other, full)
        )
        flags = builder.bitcast(bad, ir.IntType(LANES))
        fine = builder.icmp_unsigned("==", flags, ir.Constant(flags.type, 0))
        return builder.zext(fine, ir.IntType(64))

    return signature(types.int64, lanes, lanes), generate


@intrinsic
def steps(_: Any, start: Any) -> Any:
    """start, start + 1, ... start + 7."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ramp = ir.Constant(VECTOR, [float(i) for i in range(LANES)])
        return builder.fadd(spread(builder, args[0]), ramp, flags=_FLAGS)

    return signature(lanes, float32), generate


@intrinsic
def steps_twice(_: Any, start: Any) -> Any:
    """start, ... start + 7, and the same again."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ramp = ir.Constant(TWICE, [float(i % LANES) for i in range(2 * LANES)])
        return builder.fadd(spread(builder, args[0], TWICE), ramp, flags=_FLAGS)

    return signature(both, float32), generate


@intrinsic
def and_below(_: Any, start: Any) -> Any:
    """start eight times, then start + 1 eight times."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ramp = ir.Constant(TWICE, [float(i // LANES) for i in range(2 * LANES)])
        return builder.fadd(spread(builder, args[0], TWICE), ramp, flags=_FLAGS)

    return signature(both, float32), generate


@intrinsic
def sound(_: Any, value: Any) -> Any:
    """Numbers as they are, zero for what is infinite or none."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits, full = builder.bitcast(args[0], WHOLE), _constant(WHOLE, 0x7F800000)
        fine = builder.icmp_unsigned("!=", builder.and_(bits, full), full)
        kept = builder.select(fine, bits, _constant(WHOLE, 0))
        return builder.bitcast(kept, VECTOR)

    return signature(lanes, lanes), generate


def _bound(name: str, test: str) -> Any:
    @intrinsic
    def bound(_: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vector = context.get_value_type(sig.return_type)
            x, y = (spread(builder, v, vector) for v in args)
            return builder.select(builder.fcmp_ordered(test, x, y, flags=_FLAGS), x, y)

        return signature(widest(a, b), a, b), generate

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
            kind = ir.FunctionType(VECTOR, [VECTOR])
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
        a, b, c = (spread(builder, v, vector) for v in args)
        kept = builder.fcmp_ordered(">=", a, b, flags=_FLAGS)
        return builder.select(kept, c, _constant(vector, 0.0))

    return signature(widest(test, least, value), test, least, value), generate


@intrinsic
def which(_: Any, test: Any, least: Any, value: Any, other: Any) -> Any:
    """`value` in the lanes where `test` is at least `least`, `other` in the others."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(sig.return_type)
        a, b, c, d = (spread(builder, v, vector) for v in args)
        return builder.select(builder.fcmp_ordered(">=", a, b, flags=_FLAGS), c, d)

    return signature(widest(test, least, value, other), test, least, value, other), generate


@intrinsic
def added(_: Any, value: Any) -> Any:
    """The sum over lanes: halves onto each other, three times."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = args[0]
        for half in (4, 2, 1):
            order = [(i + half) % LANES for i in range(LANES)]
            turned = builder.shuffle_vector(sums, sums, ir.Constant(WHOLE, order))
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
                    builder.shuffle_vector(a, b, ir.Constant(WHOLE, even)),
                    builder.shuffle_vector(a, b, ir.Constant(WHOLE, odd)),
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
            return spread(builder, builder.load(place), vector)

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
        bits = builder.bitcast(args[0], WHOLE)
        # The exponent of x / sqrt(1/2), so that what is left lies between sqrt(1/2) and sqrt(2).
        least = _constant(WHOLE, 0x3F3504F3)
        exponent = builder.ashr(builder.sub(bits, least), _constant(WHOLE, 23))
        rest = builder.sub(bits, builder.shl(exponent, _constant(WHOLE, 23)))
        f = builder.fsub(builder.bitcast(rest, VECTOR), _constant(VECTOR, 1.0), flags=_FLAGS)
        sums: Any = None
        for i in range(len(TERMS)):
            place = builder.gep(data, [ir.Constant(ir.IntType(64), i)])
            term = spread(builder, builder.load(place))
            if sums is not None:
                term = builder.fadd(builder.fmul(sums, f, flags=_FLAGS), term, flags=_FLAGS)
            sums = term
        whole = builder.sitofp(exponent, VECTOR)
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
