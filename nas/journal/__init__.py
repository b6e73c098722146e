"""The journal: the record of a search, and the state that follows from it."""
