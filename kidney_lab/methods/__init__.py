"""Methods: the LightningModules of the stages, and how a stage is fitted."""
