"""An index in one SQLite file: texts with FTS5, vectors as blobs, exact search with numpy."""
