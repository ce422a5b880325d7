"""Keep the metafiles of ``model-index.yml`` and the tables of the READMEs consistent with the configs."""
