"""The embedded stack: Postgres, a PostgREST-compatible server and the function, each a process of its own."""
