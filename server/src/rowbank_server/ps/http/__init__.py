"""The parameter server over HTTP: metrics, probes, and the page for operators."""
