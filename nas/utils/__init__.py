"""Files, logs and the terminal."""
