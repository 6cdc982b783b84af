"""The command-line delivery side: arguments in, text or one JSON document out."""
