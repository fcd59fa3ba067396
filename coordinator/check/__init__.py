"""`saga check`: an explicit-state search over a definition, with the real machine and modelled participants."""
