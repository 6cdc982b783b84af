"""Use cases: fetch facts through ports, apply rules, act through ports."""
