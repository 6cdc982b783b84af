"""Ports to the machine: programs, progress, memory and clocks."""
