"""What belongs together: the application, packages and their families, data of libraries, named paths."""
