"""What every API needs of the HTTP side: middleware, limits, streams, metrics and logs. It knows no API by name."""
