"""What surrounds the service: dashboards, made by a program; the rest of this folder is configuration."""
