"""Node.js: requires and imports by package."""
