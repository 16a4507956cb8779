"""What training carries from step to step: parameters, formats, streams of draws, and the memory they lie in."""
