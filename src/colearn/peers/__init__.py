"""The plumbing between members' machines: HTTP both ways, TLS, and who is reached where."""
