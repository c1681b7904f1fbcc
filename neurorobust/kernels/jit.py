"""numba's compiler as the loops use it: cached on disk, free of the interpreter's lock, IEEE but for reordering.

numba keeps compiled code until loops.py changes. With every change here ``EDITION`` there goes up by one.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import numba
from llvmlite import binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.compiler import Compiler
from numba.extending import intrinsic


def cache_folder() -> str:
    """Where compiled code goes if neither this package nor the user's home can be written to: a private folder among
    the temporary ones; "" where numba's own choice will do."""
    own = Path(__file__).parent / "__pycache__"
    try:
        home = Path.home()
    except RuntimeError:
        home = own
    cache = home / ".cache"
    for folder in (own if own.exists() else own.parent, cache if cache.exists() else home):
        if folder.exists() and os.access(folder, os.W_OK):
            return ""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"neurorobust-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and (os.name == "nt" or (found.st_uid == user and not found.st_mode & 0o077)):
            return str(folder)
    except OSError:
        pass
    return tempfile.mkdtemp(prefix="neurorobust-")  # somebody else's folder could hold somebody else's code


if not numba.config.CACHE_DIR:
    numba.config.CACHE_DIR = cache_folder()

VERSION = numba.__version__


def folder() -> Path:
    """Where compiled code is kept."""
    return Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else Path(__file__).parent / "__pycache__"


# All of fastmath but nnan and ninf: a NaN has to come out where one went in.
_OPTIONS = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
}


class _Apart(Compiler):
    """numba's compiler, which tells LLVM that no array that a function writes overlaps another; numba has a flag for it
    but no option."""

    def define_pipelines(self) -> list:
        self.state.flags.noalias = True
        return super().define_pipelines()


jit = njit(**_OPTIONS)
lean = njit(**_OPTIONS, _nrt=False)
"""For functions that allocate nothing: without reference counts, which cost more than a short loop."""
part = njit(**_OPTIONS, _nrt=False, forceinline=True)
"""For a function whose call would cost too much: made part of its caller."""
apart = njit(**_OPTIONS, _nrt=False, forceinline=True, pipeline_class=_Apart)
"""For one loop over arrays that do not overlap: made part of its caller, and in vectors however many arrays there are,
where LLVM would give up on the checks. An array that is only read may be passed twice."""


@intrinsic
def prefetch(typingctx, array, index):
    """Asks for the memory of ``array[index]`` (one dimension, contiguous), which will be read soon."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        data = context.make_array(kind)(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        asks = builder.module.declare_intrinsic(
            "llvm.prefetch.p0", fnty=ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        )
        builder.call(asks, [place, number(0), number(3), number(1)])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


LANES = 16
COMPRESSES = bool(llvm.get_host_cpu_features().get("avx512f"))
"""Whether this processor moves the chosen numbers of a vector to its front in one instruction."""


@intrinsic
def list_set(typingctx, values, start, places, count):
    """Writes where values[start : start + 16] are not 0 to places[count : count + 16], and anything after them; the new
    count."""

    def generate(context, builder, signature, arguments):
        kind, target = signature.args[0], signature.args[2]
        number, lanes = ir.IntType(32), ir.VectorType(ir.IntType(32), LANES)
        source = context.make_array(kind)(context, builder, arguments[0]).data
        wide = ir.VectorType(context.get_data_type(kind.dtype), LANES)
        heard = builder.load(builder.bitcast(builder.gep(source, [arguments[1]]), wide.as_pointer()), align=1)
        zero = ir.Constant(wide, None)
        real = isinstance(kind.dtype, types.Float)
        chosen = builder.fcmp_unordered("!=", heard, zero) if real else builder.icmp_unsigned("!=", heard, zero)
        base = builder.insert_element(ir.Constant(lanes, ir.Undefined), builder.trunc(arguments[1], number), number(0))
        spread = builder.shuffle_vector(base, ir.Constant(lanes, ir.Undefined), ir.Constant(lanes, [0] * LANES))
        where = builder.add(spread, ir.Constant(lanes, list(range(LANES))))
        press = builder.module.declare_intrinsic(
            "llvm.experimental.vector.compress.v16i32", fnty=ir.FunctionType(lanes, [lanes, chosen.type, lanes])
        )
        front = builder.call(press, [where, chosen, ir.Constant(lanes, ir.Undefined)])
        out = context.make_array(target)(context, builder, arguments[2]).data
        builder.store(front, builder.bitcast(builder.gep(out, [arguments[3]]), lanes.as_pointer()), align=4)
        bits = builder.bitcast(chosen, ir.IntType(LANES))
        return builder.add(arguments[3], builder.zext(builder.ctpop(bits), arguments[3].type))

    return types.intp(values, types.intp, places, types.intp), generate


def _add_block(vectors: int):
    """:func:`add_block` for so many vectors of 16 numbers, whose sums stay in registers."""

    @intrinsic
    def add_block(typingctx, out, base, numbers, at, active, begin, count, start):
        """out = base + some rows of numbers[at:], each as long as out: the ``count`` whose numbers are in ``active``
        from ``begin`` on. Only what is in columns from ``start`` on, as far as the vectors go."""

        def generate(context, builder, signature, arguments):
            def array(i):
                return context.make_array(signature.args[i])(context, builder, arguments[i])

            def spots(i, offset):
                first = builder.gep(array(i).data, [builder.add(offset, start)])
                wide = builder.bitcast(first, kind.as_pointer())
                return [builder.gep(wide, [context.get_constant(types.intp, j)]) for j in range(vectors)]

            kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
            at, _, begin, count, start = arguments[3:]
            width, zero = builder.extract_value(array(0).shape, 0), context.get_constant(types.intp, 0)
            sums = [cgutils.alloca_once_value(builder, builder.load(spot, align=4)) for spot in spots(1, zero)]
            with cgutils.for_range(builder, count) as loop:
                number = builder.load(builder.gep(array(4).data, [builder.add(begin, loop.index)]))
                row = builder.add(at, builder.mul(builder.sext(number, width.type), width))
                for one, spot in zip(sums, spots(2, row)):
                    builder.store(builder.fadd(builder.load(one), builder.load(spot, align=4)), one)
            for one, spot in zip(sums, spots(0, zero)):
                builder.store(builder.load(one), spot, align=4)
            return context.get_dummy_value()

        return types.void(out, base, numbers, types.intp, active, types.intp, types.intp, types.intp), generate

    return add_block


WIDE = 16 if COMPRESSES else 4
"""How many vectors of 16 numbers in float32 a processor's registers hold, and leave room for others."""
add_block_wide, add_block_4, add_block_1 = _add_block(WIDE), _add_block(4), _add_block(1)


def shared(function, numbered: bool):
    """An intrinsic that runs ``function(chip, low, high, …)``, or ``(chip, block, low, high, …)`` if it is numbered,
    for every chip and part of the rows, on several threads, none of which asks for the interpreter's lock.

    It takes the addresses of OpenMP's ``GOMP_parallel`` and ``omp_get_thread_num``, or twice 0 to run on the calling
    thread alone, how many threads to start, the number of this thread where it is alone, counters of the blocks that
    are taken, one a stretch, chips, parts (blocks, 2), and a tuple of all other arguments. Each thread has a stretch of
    blocks of its own, the same in every loop of as many, so that what one wrote is still near it when it reads; a
    thread that is done helps the others. Returns whether all went well: what fails is memory.
    """

    @intrinsic
    def share(typingctx, start, who, team, index, counters, chips, parts, rest):
        own = (types.intp,) * (4 if numbered else 3) + tuple(rest.types)
        called = typingctx.resolve_value_type(function).get_call_type(typingctx, own, {})

        def generate(context, builder, signature, arguments):
            taken, cut = (context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (4, 6))
            blocks, stretches = (builder.extract_value(array.shape, 0) for array in (cut, taken))
            values = [blocks.type(0), arguments[1], arguments[3], taken.data, stretches, cut.data, blocks]
            values += [builder.mul(arguments[5], blocks), *cgutils.unpack_tuple(builder, arguments[7])]
            packed = cgutils.alloca_once(builder, ir.LiteralStructType([value.type for value in values]))
            for i, value in enumerate(values):
                builder.store(value, cgutils.gep_inbounds(builder, packed, 0, i))
            compiled = function.overloads[called.args]
            context.add_linking_libs([compiled.library])
            body = _body(context, builder.module, packed.type, (compiled.fndesc, called))
            data = builder.bitcast(packed, cgutils.voidptr_t)
            with builder.if_else(cgutils.is_null(builder, arguments[0])) as (alone, many):
                with alone:
                    builder.call(body, [data])
                with many:
                    unsigned = ir.IntType(32)
                    kind = ir.FunctionType(ir.VoidType(), [body.type, data.type, unsigned, unsigned])
                    parallel = builder.inttoptr(arguments[0], kind.as_pointer())
                    builder.call(parallel, [body, data, builder.trunc(arguments[2], unsigned), unsigned(0)])
            failed = builder.load(cgutils.gep_inbounds(builder, packed, 0, 0))
            return cgutils.is_null(builder, failed)

        return types.boolean(start, who, team, index, counters, chips, parts, rest), generate

    def _body(context, module, kind, called):
        """What each thread does: take the next block of its own stretch, then of the others', until there is none."""
        function_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
        body = ir.Function(module, function_type, module.get_unique_name("neurorobust_share"))
        body.linkage = "internal"
        builder = ir.IRBuilder(body.append_basic_block("entry"))
        packed = builder.bitcast(body.args[0], kind)
        who, index, counters, stretches, cut, blocks, total, *rest = (
            builder.load(cgutils.gep_inbounds(builder, packed, 0, i)) for i in range(1, len(kind.pointee.elements))
        )
        one, me = blocks.type(1), cgutils.alloca_once_value(builder, index)
        with builder.if_then(cgutils.is_not_null(builder, who)):
            get = builder.inttoptr(who, ir.FunctionType(ir.IntType(32), []).as_pointer())
            builder.store(builder.sext(builder.call(get, []), index.type), me)
        with cgutils.for_range(builder, stretches) as loop:
            stretch = builder.urem(builder.add(builder.load(me), loop.index), stretches)
            begin = builder.udiv(builder.mul(stretch, total), stretches)
            end = builder.udiv(builder.mul(builder.add(stretch, one), total), stretches)
            again, work, done = (builder.append_basic_block(name) for name in ("again", "work", "done"))
            builder.branch(again)
            builder.position_at_end(again)
            place = builder.gep(counters, [stretch])
            number = builder.add(begin, builder.atomic_rmw("add", place, one, "monotonic"))
            builder.cbranch(builder.icmp_signed("<", number, end), work, done)
            builder.position_at_end(work)
            chip, block = builder.sdiv(number, blocks), builder.srem(number, blocks)
            at = builder.mul(block, blocks.type(2))
            low, high = builder.load(builder.gep(cut, [at])), builder.load(builder.gep(cut, [builder.add(at, one)]))
            which = [chip, block] if numbered else [chip]
            status, _ = context.call_internal_no_propagate(builder, *called, [*which, low, high, *rest])
            with builder.if_then(status.is_error):
                builder.atomic_rmw("add", cgutils.gep_inbounds(builder, packed, 0, 0), one, "monotonic")
            builder.branch(again)
            builder.position_at_end(done)
        builder.ret_void()
        return body

    return share
