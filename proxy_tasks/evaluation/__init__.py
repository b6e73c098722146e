"""Metrics, inference and latency."""
