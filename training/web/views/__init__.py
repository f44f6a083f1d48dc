"""The pages: each is a snapshot of the rows with its seq; the socket tells the rest."""
