"""Who answers: the port, litellm behind it, and translation of what comes back into facts."""
