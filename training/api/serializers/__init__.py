"""The response bodies of the API."""
