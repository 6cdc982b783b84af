"""The inside of the hexagon: values, rules and services. Nothing here does IO or knows a vendor."""
