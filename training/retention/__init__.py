"""How long what is kept, and the removal of what is not."""
