"""The ports, fulfilled in memory. Every fake passes the same contract as its real adapter (``tests/contracts``)."""
