"""Who gives workers: processes here, a batch system's jobs, pods, or a cluster that runs already.

Begin at `launch`, from what `--cluster` says to an executor; `batch_systems` holds what is particular to Slurm, PBS,
LSF and Grid Engine, `submit` puts a whole run into a job. May import the engine's executors and the recipe's site.
"""
