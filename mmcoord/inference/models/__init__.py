"""Light-curve models: kilonovae, and the contaminants they are told from."""
