"""`python -m tests.benchmarks [--size N] [name ...]`: run benchmarks, print ratios, bar and aim."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from .harness import Benchmark, Ratio


def found() -> list[Benchmark]:
    """Return every benchmark of the modules in this folder, by module and name."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    modules = [import_module(f"{__package__}.{name}") for name in names]
    return [x for module in modules for x in vars(module).values() if isinstance(x, Benchmark)]


def verdict(bench: Benchmark, ratio: Ratio) -> str:
    """Return one line: the ratio, what it must and should be, and which of them it reaches."""
    reached = "aim" if ratio.times >= bench.aim else "bar" if ratio.times >= bench.bar else "SHORT"
    return f"{bench.name:<28} {ratio.times:>7.1f}x {bench.bar:>6g}x {bench.aim:>6g}x  {reached}"


def main() -> None:
    """Run the benchmarks whose names contain one of the given words, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="run those whose name contains one of these")
    parser.add_argument("--size", type=int, help="edge of the volumes, instead of each one's own")
    args = parser.parse_args()
    chosen = [b for b in found() if not args.names or any(n in b.name for n in args.names)]
    if not chosen:
        parser.error(f"no benchmark is called like that; there are {[b.name for b in found()]}")
    lines = [verdict(b, b.run(args.size)) for b in chosen]
    print(f"\n{'benchmark':<28} {'ratio':>8} {'bar':>7} {'aim':>7}  reached", *lines, sep="\n")


if __name__ == "__main__":
    main()
