"""The quality-cost frontier of a router's dials: swept, thinned, drawn."""
