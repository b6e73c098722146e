"""Studies: what controllers are worth, and what a proxy's scores are worth."""
