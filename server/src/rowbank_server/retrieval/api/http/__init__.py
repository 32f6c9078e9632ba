"""Calls over HTTP: endpoints, bodies, problem details, the description of the API."""
