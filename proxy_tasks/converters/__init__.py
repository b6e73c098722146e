"""Checkpoints of other codebases in, exported programs out."""
