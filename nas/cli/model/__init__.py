"""What one does with a model file: one file for each command."""
