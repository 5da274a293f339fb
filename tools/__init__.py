"""Programs a person types, and their composition."""
