"""Runs it: the command line over the search space, the controllers and the proxy tasks."""
