"""The catalog: every stored model, and everything known about one of them."""
