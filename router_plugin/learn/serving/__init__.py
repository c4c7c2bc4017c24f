"""What is served: predictors, their artefacts, the foundation that comes with the package."""
