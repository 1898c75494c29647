"""Java: archives on the class path, and the constants of classes."""
