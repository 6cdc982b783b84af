"""Rerankers: encoders with a head that makes one number. Fulfils ``ports.engines.reranking``."""
