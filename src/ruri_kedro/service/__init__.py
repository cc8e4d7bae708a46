"""A model at work: search in a browser and over HTTP, by the models that the registry calls the best."""
