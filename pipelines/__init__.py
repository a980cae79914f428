"""Recipes, one YAML file for each published pipeline."""
