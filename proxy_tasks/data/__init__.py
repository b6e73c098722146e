"""Images and annotations: readers, the pixel cache, batches."""
