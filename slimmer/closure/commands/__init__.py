"""What a command line starts: wrappers and their options, words in command position, shebangs, the search by PATH."""
