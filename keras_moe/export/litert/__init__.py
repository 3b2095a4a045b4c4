"""The LiteRT pipeline: forms of a model, conversion, parity, sealed files, and the runtime that reads them."""
