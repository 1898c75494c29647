"""Ruby: require and load along the load path, and gems."""
