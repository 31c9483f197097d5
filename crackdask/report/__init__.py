"""One page of what a run found: `page` puts figures and numbers together, `summary` says them in words, with warnings,
`markup` makes HTML of both.

Reads a finished store through figures and analysis. Begin at `page`; which figures there are, `crackdask.figures` says.
"""
