"""Lanes (see `lanes`) from memory and to it, in the layouts that kernels meet."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature

from likeness.ops.jit import intrinsic
from likeness.ops.lanes import LANES, TWICE, VECTOR, WHOLE, both, lanes, rows_of, spread, widest


def _place(
    context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Any = VECTOR
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
                rows[row] = builder.shuffle_vector(*pair, ir.Constant(WHOLE, order))
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
        return builder.load(_place(context, builder, sig.args[0], args[0], args[1], TWICE), align=4)

    return signature(both, array, types.intp), generate


@intrinsic
def load_threes(_: Any, array: Any, index: Any) -> Any:
    """Three lanes out of eight times three numbers from `index` on: the first of each, the second,
    the third."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_tuple(builder, sig.return_type, _apart(context, builder, sig, args, 3))

    return signature(types.UniTuple(lanes, 3), array, types.intp), generate


@intrinsic
def load_fours(_: Any, array: Any, index: Any) -> Any:
    """The same of eight times four."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_tuple(builder, sig.return_type, _apart(context, builder, sig, args, 4))

    return signature(types.UniTuple(lanes, 4), array, types.intp), generate


def _apart(context: Any, builder: Any, sig: Any, args: Any, count: int) -> list[Any]:
    array, index = args
    parts = []
    for k in range(count):
        at = builder.add(index, ir.Constant(index.type, k * LANES))
        parts.append(builder.load(_place(context, builder, sig.args[0], array, at), align=4))
    parts += [ir.Constant(VECTOR, ir.Undefined)] * (4 - count)
    wide = ir.Constant(ir.VectorType(ir.IntType(32), 2 * LANES), list(range(2 * LANES)))
    one, other = (builder.shuffle_vector(*parts[k : k + 2], wide) for k in (0, 2))
    orders = ([count * lane + k for lane in range(LANES)] for k in range(count))
    return [builder.shuffle_vector(one, other, ir.Constant(WHOLE, order)) for order in orders]


@intrinsic
def load_eights(_: Any, array: Any, index: Any, step: Any) -> Any:
    """Eight lanes out of eight rows of eight numbers, each `step` after the last: the first of
    each row, the second, up to the eighth."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows, at = [], args[1]
        for _ in range(LANES):
            place = _place(context, builder, sig.args[0], args[0], at)
            rows.append(builder.load(place, align=4))
            at = builder.add(at, args[2])
        return context.make_tuple(builder, sig.return_type, _turned(builder, rows))

    kind = types.UniTuple(lanes, LANES)
    return signature(kind, array, types.intp, types.intp), generate


@intrinsic
def load_listed(_: Any, array: Any, lists: Any, index: Any, step: Any) -> Any:
    """Three lanes out of rows of three numbers: the row that is listed at `index`, and seven more,
    each `step` after the last in the list. The array goes on by a number after its last row."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        listed = context.make_array(sig.args[1])(context, builder, args[1]).data
        four = ir.VectorType(ir.FloatType(), 4)
        rows, at = [], args[2]
        for _ in range(LANES):
            row = builder.load(builder.gep(listed, [at]))
            row = builder.mul(row, ir.Constant(row.type, 3))
            place = builder.bitcast(builder.gep(data, [row]), four.as_pointer())
            rows.append(builder.load(place, align=4))
            at = builder.add(at, args[3])
        size = 4
        while len(rows) > 1:  # neighbours one after the other, until all are in one
            wide = ir.Constant(ir.VectorType(ir.IntType(32), 2 * size), list(range(2 * size)))
            rows = [builder.shuffle_vector(a, b, wide) for a, b in zip(rows[::2], rows[1::2])]
            size *= 2
        orders = ([4 * lane + k for lane in range(LANES)] for k in range(3))
        found = [builder.shuffle_vector(rows[0], rows[0], ir.Constant(WHOLE, o)) for o in orders]
        return context.make_tuple(builder, sig.return_type, found)

    kind = types.UniTuple(lanes, 3)
    return signature(kind, array, lists, types.intp, types.intp), generate


@intrinsic
def load_flags(_: Any, array: Any, index: Any) -> Any:
    """Eight of an array of truths, as zeros and ones."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        bytes_ = ir.VectorType(ir.IntType(8), LANES)
        place = builder.bitcast(builder.gep(data, [args[1]]), bytes_.as_pointer())
        return builder.uitofp(builder.load(place, align=1), VECTOR)

    return signature(lanes, array, types.intp), generate


@intrinsic
def strided(_: Any, array: Any, index: Any, step: Any) -> Any:
    """Eight numbers of a flat float32 array from `index` on, each `step` after the last."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        found: Any = ir.Constant(VECTOR, ir.Undefined)
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
            rows.append(builder.load(builder.bitcast(place, VECTOR.as_pointer()), align=4))
        return context.make_tuple(builder, sig.return_type, _turned(builder, rows))

    kind = types.UniTuple(lanes, LANES)
    return signature(kind, array, lists, types.intp, types.intp), generate


@intrinsic
def store_eights(
    _: Any, array: Any, index: Any, step: Any,
    a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any,
) -> Any:  # fmt: skip
    """Eight lanes into rows of eight, each `step` after the last, in this order: see
    `load_eights`."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = args[1]
        for row in _turned(builder, list(args[3:])):
            builder.store(row, _place(context, builder, sig.args[0], args[0], at), align=4)
            at = builder.add(at, args[2])
        return context.get_dummy_value()

    return signature(types.none, array, types.intp, types.intp, *[lanes] * LANES), generate


@intrinsic
def store_strided(_: Any, array: Any, index: Any, step: Any, value: Any) -> Any:
    """Eight numbers, each `step` after the last."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        at = args[1]
        for i in range(LANES):
            one = builder.extract_element(args[3], ir.Constant(ir.IntType(32), i))
            builder.store(one, builder.gep(data, [at]))
            at = builder.add(at, args[2])
        return context.get_dummy_value()

    return signature(types.none, array, types.intp, types.intp, lanes), generate


@intrinsic
def store_fours(_: Any, array: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Write eight times four numbers to a flat float32 array from `index` on: one of each."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = ir.Constant(ir.VectorType(ir.IntType(32), 2 * LANES), list(range(2 * LANES)))
        one, other = (builder.shuffle_vector(*args[k : k + 2], wide) for k in (2, 4))
        for part in range(4):
            places = range(part * LANES, (part + 1) * LANES)
            order = ir.Constant(WHOLE, [(n % 4) * LANES + n // 4 for n in places])
            at = builder.add(args[1], ir.Constant(args[1].type, part * LANES))
            mixed = builder.shuffle_vector(one, other, order)
            builder.store(mixed, _place(context, builder, sig.args[0], args[0], at), align=4)
        return context.get_dummy_value()

    return signature(types.none, array, types.intp, *[lanes] * 4), generate


@intrinsic
def store(_: Any, array: Any, index: Any, value: Any) -> Any:
    """Write lanes (one number: eight times) to a flat float32 array from `index` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(widest(sig.args[2]))
        place = _place(context, builder, sig.args[0], args[0], args[1], vector)
        builder.store(spread(builder, args[2], vector), place, align=4)
        return context.get_dummy_value()

    return signature(types.none, array, types.intp, value), generate


def _row_place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    vector = context.get_value_type(rows_of[kind.dtype])
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


@intrinsic
def load_row(_: Any, array: Any, index: Any) -> Any:
    """Two or four float32 numbers that a flat array keeps as one complex number."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_row_place(context, builder, sig.args[0], *args), align=4)

    return signature(rows_of[array.dtype], array, types.intp), generate


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
        nothing, wide = ir.Constant(VECTOR, ir.Undefined), ir.VectorType(whole, 2 * LANES)
        both = ir.Constant(wide, list(range(2 * LANES)))
        one = builder.shuffle_vector(args[2], args[3], both)
        other = builder.shuffle_vector(args[4], nothing, both)
        for part in range(3):
            places = range(part * LANES, (part + 1) * LANES)  # of the 24, channels fastest
            order = [(n % 3) * LANES + n // 3 for n in places]
            mixed = builder.shuffle_vector(one, other, ir.Constant(WHOLE, order))
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
