"""A tool for a model: mlxk run MODEL "What is the weather in Berlin?" --tools examples/tools/weather.py."""

from __future__ import annotations

import json

_CELSIUS = {"Berlin": 21, "Cairo": 33, "Oslo": 12}


def get_weather(city: str) -> str:
    """Return the weather in a city.

    Args:
        city: the English name of the city

    """
    if city not in _CELSIUS:
        msg = f"The known cities are {', '.join(_CELSIUS)}"
        raise LookupError(msg)
    return json.dumps({"celsius": _CELSIUS[city]})
