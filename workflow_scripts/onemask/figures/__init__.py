"""The paper's figures: one module each, tables in, drawing out."""
