"""R50-FPN, the baseline: spec and backbone."""
