"""How a prompt is read: its text, its features, the space in which prompts are compared, encoders."""
