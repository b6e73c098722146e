"""What labeling tools write: the sources of `nas data import`."""
