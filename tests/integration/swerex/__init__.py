"""Stand-in for the package of the same name: just enough for a client to rebuild exceptions by class path."""
