"""The explorer: a store in a browser, any plane and state, every particle with its numbers; it reads, and never writes.

Begin at `server` (what listens, and which address answers what); `access` says who may ask, `planes` cuts pictures out
of the volumes, `columns` are numbers by label, `page/` is what the browser runs: plain ES modules, no build step. May
import the analysis, the store and what is below them; no run, no workers.
"""
