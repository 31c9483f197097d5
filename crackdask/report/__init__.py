"""One page of what a run found: `page` puts figures and numbers together, `summary` says them in words, with warnings.

Reads a finished store through figures and analysis. Begin at `page`; `markup` makes HTML of it, and which figures there
are `crackdask.figures` says.
"""
