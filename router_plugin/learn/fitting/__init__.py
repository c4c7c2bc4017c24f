"""How a predictor is fitted: targets, learners, cross-validation, margins."""
