"""What a search leaves for people: winners, reports, tables, charts."""
