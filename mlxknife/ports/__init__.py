"""What the domain needs from the world, one ``typing.Protocol`` a file; the *Raises* of a docstring is the contract."""
