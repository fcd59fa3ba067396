"""What a coordinator process consists of: what its sides share, the API side, and the engine side."""
