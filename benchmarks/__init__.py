"""What is measured, by commands: see the page on numbers."""
