"""What a recipe may say: blocks of parameters, checked before anything is computed."""
