"""`nas status`: how far a run is."""
