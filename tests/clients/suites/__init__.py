"""Suites of tests for the real clients, which pytest or Node.js runs in the environment of the client.

They know the server from their environment: ``CLIENT_URL``, ``CLIENT_KEY``, ``CLIENT_PARROT`` (the name of the tests'
parrot, whose answers are exact), ``CLIENT_STARTER`` (the name of the starter model, which is not always there) and
``CLIENT_HOME`` (an empty folder).
"""
