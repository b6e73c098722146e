"""Full trainings of one spec."""
