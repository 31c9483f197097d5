"""Who gives workers: processes here, a batch system's jobs, pods, or a cluster that runs already.

Begin at `launch`, from what `--cluster` says to an executor; `submit` puts a whole run into a job. What is particular
to a batch system stands in `crackdask.batch_systems`, one entry each: add one there.
What distributed and dask-jobqueue do not promise is used in `distributed_internals` and `jobqueue_internals` alone.
May import the engine's executors and the recipe's site.
"""
