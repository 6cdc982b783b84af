"""Tools: functions that a model may call, and the calls that it writes."""
