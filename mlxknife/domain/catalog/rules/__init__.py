"""Rules of the catalog: model cards, types and capabilities."""
