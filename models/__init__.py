"""What is known of motion and optics, and what is learned: networks, sessions, weights."""
