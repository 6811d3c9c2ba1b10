"""Do synthetic tiles help? Experiments with seeds and errors, fidelity, copies, contact sheets, and the report."""
