"""Jobs on Ray: workers on one machine or on a cluster, what they are given, and what becomes of lost ones."""
