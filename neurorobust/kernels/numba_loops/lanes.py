"""Eight dies side by side: a neuron's numbers on all of them are one vector, and so are the weights of a synapse.

A place is where such a vector begins; a synapse is one number of ``places`` and eight of ``values``.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

DIES = 8


def _send(combine):
    """An intrinsic that goes through synapses ``begin`` to ``end``: at their places, out = combine(builder, out, value,
    ``of`` [eight numbers at ``at``])."""

    @intrinsic
    def send(typingctx, out, places, values, begin, end, of, at):
        def generate(context, builder, signature, arguments):
            def data(i):
                return context.make_array(signature.args[i])(context, builder, arguments[i]).data

            def vector_at(start, index):
                return builder.bitcast(builder.gep(start, [index]), kind.as_pointer())

            number, one = context.get_data_type(signature.args[0].dtype), context.get_constant(types.intp, 1)
            kind, sums, where, weights = ir.VectorType(number, DIES), data(0), data(1), data(2)
            own = builder.load(vector_at(data(5), arguments[6]), align=4)
            with cgutils.for_range_slice(builder, arguments[3], arguments[4], one) as (k, _):
                place = builder.sext(builder.load(builder.gep(where, [k])), k.type)
                spot, weight = vector_at(sums, place), vector_at(weights, builder.mul(k, k.type(DIES)))
                before = builder.load(spot, align=4)
                builder.store(combine(builder, before, builder.load(weight, align=4), own), spot, align=4)
            return context.get_dummy_value()

        return types.void(out, places, values, types.intp, types.intp, of, types.intp), generate

    return send


def _where(builder, before, weight, spikes):
    chosen = builder.fcmp_unordered("!=", spikes, ir.Constant(spikes.type, None))
    return builder.select(chosen, builder.fadd(before, weight), before)


def _times(builder, before, weight, factors):
    bits = "f32" if isinstance(weight.type.element, ir.FloatType) else "f64"
    kind = weight.type
    fused = builder.module.declare_intrinsic(
        f"llvm.fmuladd.v{DIES}{bits}", fnty=ir.FunctionType(kind, [kind, kind, kind])
    )
    return builder.call(fused, [factors, weight, before])


send_lanes = _send(lambda builder, before, weight, _: builder.fadd(before, weight))
"""out += the synapses' weights. ``of`` does not matter, and may be any eight numbers."""
send_lanes_where = _send(_where)
"""out += the synapses' weights on the dies where ``of`` is not 0."""
send_lanes_times = _send(_times)
"""out += ``of`` times the synapses' weights, rounded once where the processor can."""


@intrinsic
def list_any(typingctx, spikes, n, places):
    """List which of n neurons have a spike on any die; return how many. There is room for n + 1."""

    def generate(context, builder, signature, arguments):
        source, target = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 2))
        number, n = ir.IntType(32), arguments[1]
        kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), DIES)
        count = cgutils.alloca_once_value(builder, n.type(0))
        with cgutils.for_range(builder, n) as loop:
            spot = builder.gep(builder.bitcast(source, kind.as_pointer()), [loop.index])
            nonzero = builder.fcmp_unordered("!=", builder.load(spot, align=4), ir.Constant(kind, None))
            found = builder.icmp_unsigned("!=", builder.bitcast(nonzero, ir.IntType(DIES)), ir.IntType(DIES)(0))
            before = builder.load(count)
            builder.store(builder.trunc(loop.index, number), builder.gep(target, [before]))
            builder.store(builder.add(before, builder.zext(found, before.type)), count)
        return builder.load(count)

    return types.intp(spikes, types.intp, places), generate
