"""What lies below the map of a page: coasts and borders, or the tiles of the operator's server."""
