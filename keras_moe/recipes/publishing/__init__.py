"""From a recipe to a folder of the zoo: measures, weights, LiteRT files, card."""
