"""PHP: includes, autoloaders and Composer's class maps."""
