"""Training jobs: asked, judged, paid and kept pair by pair."""
