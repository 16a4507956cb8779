"""What a layer is: one file a family, and what they share."""
