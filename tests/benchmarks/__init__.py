"""Speed against the field's own tools, as ratios.

To add one, write `test_<topic>.py` like `test_nlm.py`: a function marked `@benchmark(...)` that
takes a size and returns a `Race`, and a test that calls its `once()`. `python -m tests.benchmarks`
finds it by itself. What has no peer has a command of its own: `reductions`, what one process does for a full field;
`engine`; `whole`; `damage_budget`; `explorer`.
"""
