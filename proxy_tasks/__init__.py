"""How good is it: tasks give a score to a spec.

Imports `search_space`; knows neither `controllers` nor `nas`.
"""
