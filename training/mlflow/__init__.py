"""The part of MLflow's REST API that its clients need: experiments are projects, runs are jobs."""
