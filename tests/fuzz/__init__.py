"""Fuzzing of every reader of what comes from elsewhere: `python -m tests.fuzz --kind spec --count 20000`."""
