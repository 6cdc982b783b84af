"""The ports of the domain, one ``typing.Protocol`` a file. The errors in a docstring are part of the contract."""
