"""Workers: registration, supervision of trainer processes, maintenance."""
