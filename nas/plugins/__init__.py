"""Code of a user's own: what can be written, how it is found, and the errors that it makes."""
