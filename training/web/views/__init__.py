"""The pages. Each shows a snapshot and its seq; newer events arrive over the socket."""
