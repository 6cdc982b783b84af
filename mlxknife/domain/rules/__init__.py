"""Pure functions from facts to verdicts. A rule that needs a clock or a file takes what it read as an argument."""
