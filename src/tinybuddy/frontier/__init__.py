"""How small can it be and still speak? A search for the best model of each parameter budget."""
