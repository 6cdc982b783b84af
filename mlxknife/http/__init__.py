"""The HTTP delivery side: the only place that may import Starlette and uvicorn. The server moves in here."""
