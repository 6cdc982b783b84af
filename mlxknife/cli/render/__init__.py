"""Domain values as text or JSON objects: pure functions, and printers for streams. All foreign text is escaped."""
