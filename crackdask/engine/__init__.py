"""Files in, files out, after any kill: a run of a recipe into a store, block by block.

Begin at `run`, the whole way; `run_store` makes and mends its store, `step_runners` says how each step is done,
`work_units` what hangs together how, `fingerprints` what decides a result, `pass_runner` does the blocks of a pass,
`retries` tries those again that fail, `checkpoints` keeps the records from which a killed run resumes, `executors` says
who does a block, `progress` who is told of it. May import steps, recipe, store and all below; never the command line or
how workers are had.
"""
