"""Vectors of 32 words, of which the loops of non-local means are made: what is at hand is shifted within registers.

A vector that lies across two cache lines takes several times as long to load as one that does not, and those of most
shifts would lie so. Here each step loads once what all shifts of a row need, and picks the words of each out of it.
The instructions are LLVM's own for vectors of any processor; only pairs of words are multiplied and added up by those
of x86, where it has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

from crackdask.kernels import compiling

#: Words of a vector.
LANES = 32


class _Builder:
    """Builds LLVM instructions of vectors of words."""

    def __init__(self, context: Any, builder: Any) -> None:
        from llvmlite import ir  # type: ignore[import-untyped]

        self.ir, self.context, self.builder = ir, context, builder
        self.words = self.vector(16, LANES)

    def vector(self, bits: int, lanes: int) -> Any:
        """Return a type."""
        return self.ir.VectorType(self.ir.IntType(bits), lanes)

    def place(self, array: tuple[Any, Any], at: Any, kind: Any) -> Any:
        """Return a pointer to the vector that begins at an index of an array."""
        data = self.context.make_array(array[0])(self.context, self.builder, array[1]).data
        return self.builder.bitcast(self.builder.gep(data, [at]), kind.as_pointer())

    def load(self, array: tuple[Any, Any], at: Any, kind: Any) -> Any:
        """Load a vector."""
        return self.builder.load(self.place(array, at, kind), align=kind.element.width // 8)

    def store(self, value: Any, array: tuple[Any, Any], at: Any) -> None:
        """Store a vector."""
        self.builder.store(value, self.place(array, at, value.type), align=value.type.element.width // 8)

    def number(self, value: int) -> Any:
        """Return an index."""
        return self.ir.IntType(64)(value)

    def plus(self, at: Any, times: int, step: Any) -> Any:
        """Return an index some steps on."""
        return self.builder.add(at, self.builder.mul(self.number(times), step)) if times else at

    def all(self, word: Any) -> Any:
        """Return a vector of one word, again and again."""
        one = self.builder.insert_element(self.words(self.ir.Undefined), word, self.ir.IntType(32)(0))
        return self.picked(one, one, [0] * LANES)

    def zeros(self) -> Any:
        """Return a vector of zeros."""
        return self.words([self.ir.IntType(16)(0)] * LANES)

    def picked(self, first: Any, second: Any, which: Sequence[int]) -> Any:
        """Return lanes of two vectors."""
        return self.builder.shuffle_vector(first, second, self.vector(32, len(which))(list(which)))

    def called(self, name: str, *args: Any) -> Any:
        """Call LLVM's own function of a name for vectors of words."""
        kind = self.ir.FunctionType(args[0].type, [arg.type for arg in args])
        return self.builder.call(self.function(f"{name}.v{LANES}i16", kind), list(args))

    def function(self, name: str, kind: Any) -> Any:
        """Return a function of the module."""
        module = self.builder.module
        return module.globals.get(name) or self.ir.Function(module, kind, name)

    def sum(self, values: Sequence[Any]) -> Any:
        """Add up words, at most 65535."""
        return reduce(lambda a, b: self.called("llvm.uadd.sat", a, b), values)

    def mul_high(self, a: Any, b: Any) -> Any:
        """Return the upper halves of products."""
        kind = self.ir.FunctionType(a.type, [a.type, b.type, self.ir.IntType(32)])
        call = self.function(f"llvm.umul.fix.v{LANES}i16", kind)
        return self.builder.call(call, [a, b, self.ir.IntType(32)(16)])

    def greys(self, array: tuple[Any, Any], at: Any, count: int) -> list[Any]:
        """Load so many grey levels and more, as vectors of words."""
        vectors = -(-count // LANES)
        loaded = self.load(array, at, self.vector(8, vectors * LANES))
        parts = [self.picked(loaded, loaded, range(k * LANES, (k + 1) * LANES)) for k in range(vectors)]
        words = [self.builder.zext(part, self.words) for part in parts]
        return [*words, words[-1]]

    def shifted(self, vectors: Sequence[Any], by: int) -> Any:
        """Return the words that lie so many on from the first of the vectors."""
        first, rest = divmod(by, LANES)
        return self.picked(vectors[first], vectors[first + 1], range(rest, rest + LANES)) if rest else vectors[first]

    def in_turn(self, a: Any, b: Any, half: int) -> Any:
        """Return words of two vectors in turn, of their first halves or of their second ones."""
        lanes = range(half * LANES // 2, (half + 1) * LANES // 2)
        return self.picked(a, b, [lane + side for lane in lanes for side in (0, LANES)])

    def of_pairs(self, a: Any, b: Any) -> Any:
        """Multiply signed words, and add up the products of each two neighbours."""
        kind = self.vector(32, LANES // 2)
        features = self.context.codegen().magic_tuple()[2]
        if "+avx512bw" in features:
            call = self.function("llvm.x86.avx512.pmaddw.d.512", self.ir.FunctionType(kind, [a.type] * 2))
            return self.builder.call(call, [a, b])
        if "+avx2" in features:
            return self._of_pairs_by_halves(a, b)
        sides = [[self.picked(v, v, range(side, LANES, 2)) for v in (a, b)] for side in (0, 1)]
        products = [self.builder.mul(*(self.builder.sext(v, kind) for v in side)) for side in sides]
        return self.builder.add(*products)

    def _of_pairs_by_halves(self, a: Any, b: Any) -> Any:
        half, kind = self.vector(16, LANES // 2), self.vector(32, LANES // 4)
        call = self.function("llvm.x86.avx2.pmadd.wd", self.ir.FunctionType(kind, [half] * 2))
        low, high = (
            self.builder.call(call, [self.picked(v, v, range(n, n + LANES // 2)) for v in (a, b)])
            for n in (0, LANES // 2)
        )
        return self.picked(low, high, range(LANES // 2))


def _squares(rounded: bool) -> Any:
    from numba import types
    from numba.extending import intrinsic

    def squares(context: Any, grey: Any, at: Any, far: Any, step: Any, sums: Any, to: Any, apart: Any, half: Any,
                coarse: Any, row: Any, patch: Any) -> Any:  # fmt: skip
        def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            at, far, step, to, apart = (args[n] for n in (1, 2, 3, 5, 6))
            b, kinds = _Builder(context, builder), signature.args
            greys, sums, (row, patch) = (kinds[0], args[0]), (kinds[4], args[4]), (len(kinds[n]) for n in (9, 10))
            half, coarse = (b.all(args[n]) for n in (7, 8))
            starts = [b.plus(at, k, step) for k in range(patch)]
            here = [b.greys(greys, start, LANES)[0] for start in starts]
            there = [b.greys(greys, builder.add(start, far), LANES + row - 1) for start in starts]
            for dx in range(row):
                gaps = [builder.sub(a, b.shifted(words, dx)) for a, words in zip(here, there, strict=True)]
                squares = [builder.mul(gap, gap) for gap in gaps]
                if rounded:
                    squares = [builder.lshr(b.called("llvm.uadd.sat", square, half), coarse) for square in squares]
                b.store(b.sum(squares), sums, b.plus(to, dx, apart))
            return context.get_dummy_value()

        n, w = types.int64, types.uint16
        return types.none(grey, n, n, n, sums, n, n, w, w, row, patch), lower

    return intrinsic(squares)


def _weights() -> Any:
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def weights(context: Any, sums: Any, at: Any, step: Any, floor: Any, cut: Any, fine: Any, scale: Any, out: Any,
                to: Any, count: Any, patch: Any) -> Any:  # fmt: skip
        def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            b, kinds = _Builder(context, builder), signature.args
            sums, out, patch = (kinds[0], args[0]), (kinds[7], args[7]), len(kinds[10])
            floor, cut, fine, scale = (b.all(args[n]) for n in range(3, 7))

            def line(at: Any) -> Any:
                return b.sum([b.load(sums, b.plus(at, k, args[2]), b.words) for k in range(patch)])

            ahead = [cgutils.alloca_once(builder, b.words) for _ in range((LANES + patch - 2) // LANES)]
            for n, kept in enumerate(ahead):
                builder.store(line(builder.add(args[1], b.number(n * LANES))), kept)
            with cgutils.for_range(builder, args[9]) as loop:
                on = builder.mul(loop.index, b.number(LANES))
                last = line(builder.add(args[1], builder.add(on, b.number(len(ahead) * LANES))))
                lines = [*(builder.load(kept) for kept in ahead), last]
                for kept, value in zip(ahead, lines[1:], strict=True):
                    builder.store(value, kept)
                total = b.sum([b.shifted(lines, k) for k in range(patch)])
                most = builder.select(builder.icmp_unsigned("<", total, floor), floor, total)
                root = b.mul_high(builder.shl(b.called("llvm.usub.sat", cut, most), fine), scale)
                square = b.mul_high(root, root)
                b.store(b.mul_high(square, square), out, builder.add(args[8], on))
            return context.get_dummy_value()

        n, w = types.int64, types.uint16
        return types.none(sums, n, n, w, w, w, w, out, n, n, patch), lower

    return intrinsic(weights)


def _tally(backwards: bool) -> Any:
    from numba import types
    from numba.extending import intrinsic

    def tally(context: Any, weights: Any, at: Any, jump: Any, grey: Any, start: Any, sums: Any, norms: Any, to: Any,
              row: Any) -> Any:  # fmt: skip
        def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            b, kinds = _Builder(context, builder), signature.args
            weights, grey, sums, norms = ((kinds[n], args[n]) for n in (0, 3, 5, 6))
            row, wide = len(kinds[8]), b.vector(32, LANES // 2)
            greys = b.greys(grey, args[4], LANES + row - 1)
            own = [b.load(weights, b.plus(args[1], k, args[2]), b.words) for k in range(row)]
            near = [b.shifted(greys, row - 1 - k if backwards else k) for k in range(row)]
            if row % 2:
                own.append(b.zeros())
                near.append(b.zeros())
            places = [builder.add(args[7], b.number(n)) for n in (0, LANES // 2)]
            for half, place in enumerate(places):
                total = b.load(sums, place, wide)
                for k in range(0, len(own), 2):
                    pairs = (b.in_turn(each[k], each[k + 1], half) for each in (own, near))
                    total = builder.add(total, b.of_pairs(*pairs))
                b.store(total, sums, place)
            norm = reduce(builder.add, own)
            for half, place in enumerate(places):
                part = b.picked(norm, norm, range(half * LANES // 2, (half + 1) * LANES // 2))
                b.store(builder.add(b.load(norms, place, wide), builder.zext(part, wide)), norms, place)
            return context.get_dummy_value()

        n = types.int64
        return types.none(weights, n, n, grey, n, sums, norms, n, row), lower

    return intrinsic(tally)


def _wide() -> Any:
    from numba import types
    from numba.extending import intrinsic

    def prefer(typingctx: Any) -> Any:
        def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            # llvmlite knows by name only attributes without a value.
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
            return context.get_dummy_value()

        return types.none(), lower

    return intrinsic(prefer)


#: Called anywhere in a kernel, has LLVM fill the widest vectors that the processor has. By itself it takes vectors of
#: half that width on Intel's with AVX-512, whose clock once fell with wide ones; others are not touched by this.
wide_vectors = compiling.Late(_wide)

add_squares = compiling.Late(partial(_squares, False))
add_rounded_squares = compiling.Late(partial(_squares, True))
weigh = compiling.Late(_weights)
tally = compiling.Late(partial(_tally, False))
tally_partners = compiling.Late(partial(_tally, True))
