"""One package for each API that the server speaks."""
