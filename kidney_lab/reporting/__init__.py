"""Tables, statistics, figures and the HTML report of runs; free of torch and Hydra."""
