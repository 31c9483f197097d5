"""`python -m tests.benchmarks [--size N] [--keep] [name ...]`: run benchmarks, print ratios, bar and aim.

Beside each ratio stand the share of this CPU's peak that was reached, and the ratio that `figures.json` remembers of
CPUs like this one; `--keep` writes down what is measured now.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from . import machine
from .harness import Benchmark, Ratio


def found() -> list[Benchmark]:
    """Return every benchmark of the modules in this folder, by module and name."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    modules = [import_module(f"{__package__}.{name}") for name in names]
    return [x for module in modules for x in vars(module).values() if isinstance(x, Benchmark)]


def verdict(bench: Benchmark, ratio: Ratio, size: int | None, before: float | None) -> str:
    """Return one line: the ratio, what it must and should be, which it reaches, its share of the peak, and before."""
    reached = "aim" if ratio.times >= bench.aim else "bar" if ratio.times >= bench.bar else "SHORT"
    share = bench.share(ratio, size)
    of_peak = "" if share is None else f"{share:.0%}"
    then = "" if before is None else f"{before:.1f}x ({ratio.times / before - 1:+.0%})"
    times = f"{bench.name:<28} {ratio.times:>7.1f}x {bench.bar:>6.2g}x {bench.aim:>6.2g}x"
    return f"{times}  {reached:<7} {of_peak:>7}  {then}".rstrip()


def main() -> None:
    """Run the benchmarks whose names contain one of the given words, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="run those whose name contains one of these")
    parser.add_argument("--size", type=int, help="edge of the volumes, instead of each one's own")
    parser.add_argument("--keep", action="store_true", help="write down the ratios as those of CPUs like this one")
    args = parser.parse_args()
    if args.keep and args.size:
        parser.error("ratios are kept of each one's own size")
    chosen = [b for b in found() if not args.names or any(n in b.name for n in args.names)]
    if not chosen:
        parser.error(f"no benchmark is called like that; there are {[b.name for b in found()]}")
    print(machine.cpu(), flush=True)
    before = {} if args.size else machine.figures()  # which are those of each one's own size
    ratios = [(bench, bench.run(args.size)) for bench in chosen]
    lines = [verdict(bench, ratio, args.size, before.get(bench.name)) for bench, ratio in ratios]
    print(
        f"\n{machine.cpu()}",
        f"{'benchmark':<28} {'ratio':>8} {'bar':>7} {'aim':>7}  reached of peak  before",
        *lines,
        sep="\n",
    )
    if args.keep:
        machine.keep({bench.name: ratio.times for bench, ratio in ratios})


if __name__ == "__main__":
    main()
