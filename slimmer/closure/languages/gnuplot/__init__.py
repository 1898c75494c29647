"""gnuplot: commands that scripts start, and files that they load and plot."""
