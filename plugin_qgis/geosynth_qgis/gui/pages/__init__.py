"""The pages of the panel, one a step. Each fills in the parameters of one Processing algorithm."""
