"""What a person sees: pages, live updates, admin look. Reads everything, owns no state."""
