"""R: packages by DESCRIPTION, what sources attach and source, and started programs."""
