"""What to try next: controllers propose genotypes and are told their scores.

Imports `search_space`; knows neither `proxy_tasks` nor `nas`.
"""
