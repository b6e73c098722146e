"""Other programs: TensorBoard, experiment trackers, Ray Tune."""
